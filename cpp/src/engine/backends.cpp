/// Which backends there are, and which of them this build has.
#include <algorithm>
#include <array>
#include <exception>
#include <new>

#include "engine/engine.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

struct Backend {
  const char* name;
  const char* title;
  const char* option;                               // of CMake, that compiles it in
  std::unique_ptr<Engine> (*open)(const Opening&);  // null: not in this build
};

#ifdef SEGDINO_WITH_OPENVINO
constexpr auto kOpenVino = &open_openvino;
#else
constexpr std::unique_ptr<Engine> (*kOpenVino)(const Opening&) = nullptr;
#endif
#ifdef SEGDINO_WITH_ONNXRUNTIME
constexpr auto kOnnxRuntime = &open_onnxruntime;
#else
constexpr std::unique_ptr<Engine> (*kOnnxRuntime)(const Opening&) = nullptr;
#endif
#ifdef SEGDINO_WITH_TENSORRT
constexpr auto kTensorRt = &open_tensorrt;
#else
constexpr std::unique_ptr<Engine> (*kTensorRt)(const Opening&) = nullptr;
#endif
#ifdef SEGDINO_WITH_TENSORRT_RTX
constexpr auto kTensorRtRtx = &open_tensorrt;
#else
constexpr std::unique_ptr<Engine> (*kTensorRtRtx)(const Opening&) = nullptr;
#endif

// In Python's order (segdino_deploy/engines/run/__init__.py), so that both pick the same engine of a bundle.
constexpr std::array kBackends = {
    Backend{"openvino", "OpenVINO", "SEGDINO_WITH_OPENVINO", kOpenVino},
    Backend{"onnxruntime", "ONNX Runtime", "SEGDINO_WITH_ONNXRUNTIME", kOnnxRuntime},
    Backend{"tensorrt", "TensorRT", "SEGDINO_WITH_TENSORRT", kTensorRt},
    Backend{"tensorrt-rtx", "TensorRT-RTX", "SEGDINO_WITH_TENSORRT_RTX", kTensorRtRtx},
};

/// One that is compiled in.
const Backend& require_backend(const EngineRecord& engine) {
  const auto found = std::find_if(kBackends.begin(), kBackends.end(),
                                  [&](const Backend& backend) { return engine.backend == backend.name; });
  if (found == kBackends.end()) {
    throw InputError(engine.name + ": no such backend: " + printable(engine.backend), joined(known_backends()),
                     engine.backend);
  }
  if (found->open == nullptr) {
    throw MissingComponent(engine.backend + " engines: this library was built without " + found->title +
                               "; build it with -D" + found->option + "=ON",
                           engine.backend, joined(compiled_backends()));
  }
  return *found;
}

}  // namespace

std::unique_ptr<Engine> open_engine(const Opening& opening) {
  const Backend& backend = require_backend(opening.engine);
  try {
    return backend.open(opening);
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // a library's own; the callers know ours alone
    throw EngineError(opening.file().string() + ": cannot be opened: " + one_line(error));
  }
}

void require_compiled(const EngineRecord& engine) { require_backend(engine); }

std::vector<std::string> compiled_backends() {
  std::vector<std::string> names;
  for (const Backend& backend : kBackends) {
    if (backend.open) names.emplace_back(backend.name);
  }
  return names;
}

std::vector<std::string> known_backends() {
  std::vector<std::string> names;
  for (const Backend& backend : kBackends) names.emplace_back(backend.name);
  return names;
}

std::vector<DeviceOutput> Engine::run_device(const DeviceBatch&) {
  throw MissingComponent("run_device: this engine runs on the " + device() + "; open a tensorrt engine", "a GPU",
                         device());
}

}  // namespace segdino::detail
