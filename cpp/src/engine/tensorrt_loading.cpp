#include "engine/tensorrt_loading.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "engine/cuda.hpp"
#include "engine/mapped_file.hpp"
#include "engine/tensorrt_messages.hpp"
#include "engine/tensors.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

/// As NumPy names it, or TensorRT where NumPy has no name.
std::string type_name(nvinfer1::DataType type) {
  constexpr std::array kNames = {"float32", "float16", "int8",  "int32", "bool", "uint8",
                                 "fp8",     "bf16",    "int64", "int4",  "fp4",  "e8m0"};
  const auto number = static_cast<std::size_t>(type);
  return number < kNames.size() ? kNames[number] : "TensorRT's type " + std::to_string(number);
}

/// What an engine says that it reads and writes.
std::vector<FoundTensor> tensors_of(const nvinfer1::ICudaEngine& engine) {
  std::vector<FoundTensor> found;
  for (int i = 0; i < engine.getNbIOTensors(); ++i) {
    const char* const name = engine.getIOTensorName(i);
    const bool is_input = engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
    const nvinfer1::Dims shape = engine.getTensorShape(name);
    found.push_back({name, is_input, type_name(engine.getTensorDataType(name)), {}});
    for (int axis = 0; axis < shape.nbDims; ++axis) found.back().shape.push_back(shape.d[axis]);
  }
  return found;
}

/// A runtime that can open an engine which was built with these options.
std::unique_ptr<nvinfer1::IRuntime> open_runtime(const EngineRecord& engine) {
  const Listening heard;
  std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger()));
  if (!runtime) throw heard.failure("cannot make a runtime");
  if (engine.version_compatible) runtime->setEngineHostCodeAllowed(true);  // it brings its own runtime along
  for (const auto& [option, value] : engine.options) {
    int core = 0;
    const bool is_number = std::from_chars(value.data(), value.data() + value.size(), core).ec == std::errc();
    if (option == "--dla-core" && is_number) runtime->setDLACore(core);
  }
  return runtime;
}

#ifdef SEGDINO_WITH_TENSORRT_RTX

struct Reason {
  nvinfer1::EngineInvalidityDiagnostics bit;
  const char* words;
};
using Diagnostics = nvinfer1::EngineInvalidityDiagnostics;
constexpr const char* kMalformed = "it is no engine, or a damaged one";
constexpr std::array kReasons = {
    Reason{Diagnostics::kVERSION_MISMATCH, "it was built by another version"},
    Reason{Diagnostics::kUNSUPPORTED_CC, "it was not built for this GPU"},
    Reason{Diagnostics::kOLD_CUDA_DRIVER, "this machine's driver is too old"},
    Reason{Diagnostics::kOLD_CUDA_RUNTIME, "this machine's CUDA is too old"},
    Reason{Diagnostics::kINSUFFICIENT_GPU_MEMORY, "this GPU has too little memory"},
    Reason{Diagnostics::kMALFORMED_ENGINE, kMalformed},
    Reason{Diagnostics::kCUDA_ERROR, "CUDA does not work here"},
};

/// Why TensorRT-RTX calls an engine invalid here, in words; empty: it does not.
///
/// Not the last word: on data-centre GPUs it is said to name the GPU of engines that then open and run, so that only
/// what holds everywhere (no engine at all) is refused for it.
std::string why_invalid(const nvinfer1::IRuntime& runtime, const MappedFile& file, const Opening& opening) {
  std::uint64_t bits = 0;
  const auto size = static_cast<std::int64_t>(file.size());
  if (runtime.getEngineValidity(file.data(), size, &bits) != nvinfer1::EngineValidity::kINVALID) return "";
  std::string words;
  for (const Reason& reason : kReasons) {
    if ((bits & static_cast<std::uint64_t>(reason.bit)) == 0) continue;
    if (reason.bit == Diagnostics::kMALFORMED_ENGINE) {
      throw InputError(opening.file().string() + ": " + kMalformed + "; copy the bundle again, or " +
                       build_it_here(opening));
    }
    words += (words.empty() ? "" : " and ") + std::string(reason.words);
  }
  return words;
}

#else

std::string why_invalid(const nvinfer1::IRuntime&, const MappedFile&, const Opening&) { return ""; }

#endif

/// The error to throw where a file was not opened. `invalid`: why, in words, where that is known.
[[noreturn]] void refuse(const EngineError& error, const std::string& invalid, const MappedFile& file,
                         const Opening& opening) {
  const std::string cure = "; " + build_it_here(opening), said = error.what();
  if (!invalid.empty()) throw MissingComponent(said + "; " + invalid + cure);
  const std::string_view first_bytes(static_cast<const char*>(file.data()), std::min<std::size_t>(file.size(), 4));
  for (const Flavour& other : {kTensorRt, kTensorRtRtx}) {
    if (other.magic.empty() || other.magic != first_bytes || other.title == this_flavour().title) continue;
    // Said only now: TensorRT itself knows best what it can open.
    throw InputError(said + "; its first bytes are those of a " + other.title + " engine" + cure, this_flavour().title,
                     other.title);
  }
  throw EngineError(said + "; copy the bundle again, or " + build_it_here(opening));
}

}  // namespace

std::string build_it_here(const Opening& opening) {
  return "build it here: " + rebuild_command(opening.engine, opening.bundle.path, false);
}

Gpu require_runnable(const Opening& opening) {
  Gpu gpu;
  try {
    gpu = cuda::current_gpu();
  } catch (const EngineError& error) {
    throw MissingComponent(
        opening.engine.backend + " engines: no usable NVIDIA GPU here; run them on the target device", "an NVIDIA GPU",
        error.what());
  }
  const std::string said = why_it_cannot_run(opening.engine, this_flavour(), library_version(), gpu);
  if (!said.empty()) throw MissingComponent(opening.file().string() + ": " + said + "; " + build_it_here(opening));
  return gpu;
}

std::shared_ptr<LoadedEngine> load_engine(const Opening& opening, const Gpu& gpu) {
  auto loaded = std::make_shared<LoadedEngine>();
  loaded->runtime = open_runtime(opening.engine);
  {
    const MappedFile file(opening.file());
    const std::string invalid = why_invalid(*loaded->runtime, file, opening);
    const Listening heard;  // not what was said to the question before: what the answer is comes now
    loaded->engine.reset(loaded->runtime->deserializeCudaEngine(file.data(), file.size()));
    if (!loaded->engine) refuse(heard.failure("cannot open " + opening.file().string()), invalid, file, opening);
  }
  check_tensors(tensors_of(*loaded->engine), opening);
  if (opening.engine.strip_weights) bring_weights(*loaded->engine, opening);
#ifdef SEGDINO_WITH_TENSORRT_RTX
  loaded->cache = std::make_unique<RuntimeCache>(cache_file(opening, library_version(), gpu.compute_capability));
#endif
  loaded->gpu = gpu;
  loaded->card = opening.card();
  loaded->outputs = output_tensors(loaded->card);
  loaded->precision = opening.engine.precision;
  return loaded;
}

}  // namespace segdino::detail
