/// ONNX Runtime on the CPU, through its C interface: one header, which fits every library from 1.12 on.
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <new>

#include "engine/engine.hpp"
#include "engine/tensors.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

// The oldest interface that has everything below: a library that is older than the headers may still be new enough.
constexpr std::uint32_t kApiVersion = 12;
static_assert(ORT_API_VERSION >= kApiVersion, "ONNX Runtime 1.12 or later is needed");
constexpr std::size_t kAlignment = 64;  // bytes, of a cache line and of the widest vectors

/// MissingComponent where the library that was loaded is older than 1.12.
const OrtApi& api() {
  static const OrtApi* const found = OrtGetApiBase()->GetApi(kApiVersion);
  if (found) return *found;
  const std::string here = OrtGetApiBase()->GetVersionString();
  throw MissingComponent("onnxruntime engines: ONNX Runtime " + here + " is too old; install 1.12 or later",
                         "1.12 or later", here);
}

std::string version() { return OrtGetApiBase()->GetVersionString(); }

/// Gives an object of ONNX Runtime's back with the function that its table has for it.
template <auto Release>
struct Releases {
  template <typename Object>
  void operator()(Object* object) const {
    (api().*Release)(object);
  }
};

using Status = std::unique_ptr<OrtStatus, Releases<&OrtApi::ReleaseStatus>>;
using Session = std::unique_ptr<OrtSession, Releases<&OrtApi::ReleaseSession>>;
using SessionOptions = std::unique_ptr<OrtSessionOptions, Releases<&OrtApi::ReleaseSessionOptions>>;
using TypeInfo = std::unique_ptr<OrtTypeInfo, Releases<&OrtApi::ReleaseTypeInfo>>;
using MemoryInfo = std::unique_ptr<OrtMemoryInfo, Releases<&OrtApi::ReleaseMemoryInfo>>;
using Value = std::unique_ptr<OrtValue, Releases<&OrtApi::ReleaseValue>>;

/// EngineError, `what` and ONNX Runtime's own words, where a call was refused.
void check(OrtStatus* status, const std::string& what) {
  const Status refusal(status);
  if (refusal) throw EngineError(what + ": " + one_line(api().GetErrorMessage(refusal.get())));
}

/// The process's one environment, while anybody uses it. Nothing below a fatal message is written to stderr: what fails
/// is thrown.
std::shared_ptr<OrtEnv> environment(const std::string& what) {
  static std::mutex mutex;
  static std::weak_ptr<OrtEnv> known;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<OrtEnv> found = known.lock();
  if (found) return found;
  OrtEnv* made = nullptr;
  check(api().CreateEnv(ORT_LOGGING_LEVEL_FATAL, "segdino", &made), what);
  found.reset(made, Releases<&OrtApi::ReleaseEnv>());
  known = found;
  return found;
}

/// The options of segdino_deploy/engines/run/onnxruntime.py, but for its messages on stderr.
SessionOptions session_options(int threads, const std::string& what) {
  OrtSessionOptions* made = nullptr;
  check(api().CreateSessionOptions(&made), what);
  SessionOptions options(made);
  check(api().SetSessionLogSeverityLevel(made, ORT_LOGGING_LEVEL_FATAL), what);
  check(api().SetIntraOpNumThreads(made, threads), what);  // 0: ONNX Runtime's own choice (physical cores)
  // Idle workers must not spin: an application, or another engine beside this one, needs the cores.
  check(api().AddSessionConfigEntry(made, "session.force_spinning_stop", "1"), what);
  return options;
}

/// One opened model, shared by the engines of several threads: a session runs for any number of them at the same time.
struct Model {
  std::shared_ptr<OrtEnv> environment;  // first, so that it goes last
  Session session;
  Card card;
  std::vector<Tensor> tensors;  // its outputs, in the card's order
  std::string name;             // in words, of the engine
};

struct FreesAligned {
  void operator()(std::uint8_t* memory) const { ::operator delete(memory, std::align_val_t(kAlignment)); }
};

/// Memory for one tensor of the largest batch.
struct Buffer {
  std::unique_ptr<std::uint8_t, FreesAligned> memory;
  std::size_t bytes_per_image;

  Buffer(std::size_t bytes, int images)
      : memory(static_cast<std::uint8_t*>(
            ::operator new(bytes* static_cast<std::size_t>(images), std::align_val_t(kAlignment)))),
        bytes_per_image(bytes) {}
};

class OnnxRuntimeEngine final : public Engine {
 public:
  explicit OnnxRuntimeEngine(std::shared_ptr<const Model> model) : model_(std::move(model)) {
    const Card& card = model_->card;
    const auto pixels = static_cast<std::size_t>(card.input_height) * static_cast<std::size_t>(card.input_width);
    buffers_.emplace_back(3 * pixels, card.max_batch);
    for (const Tensor& tensor : model_->tensors) buffers_.emplace_back(tensor.bytes(), card.max_batch);
  }

  std::uint8_t* input(int) override { return buffers_.front().memory.get(); }

  double run(int batch) override {
    if (batch != batch_) bind(batch);
    const char* const image = kInput;
    const OrtValue* const read = values_.front().get();
    std::vector<const char*> names;
    std::vector<OrtValue*> written;
    for (std::size_t i = 0; i < model_->tensors.size(); ++i) {
      names.push_back(model_->tensors[i].name.c_str());
      written.push_back(values_[i + 1].get());
    }
    const auto began = std::chrono::steady_clock::now();
    OrtStatus* const status =
        api().Run(model_->session.get(), nullptr, &image, &read, 1, names.data(), names.size(), written.data());
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    check(status, failed());
    return took.count();
  }

  const void* output(std::size_t index) const override { return buffers_.at(index + 1).memory.get(); }

  std::string device() const override { return "CPU"; }

  std::unique_ptr<Engine> share() const override { return std::make_unique<OnnxRuntimeEngine>(model_); }

 private:
  std::string failed() const { return model_->name + " failed"; }

  /// Makes tensors of a batch in the buffers, which ONNX Runtime then reads and writes in place.
  void bind(int batch) {
    batch_ = 0;
    values_.clear();
    const Card& card = model_->card;
    values_.push_back(value(0, {batch, card.input_height, card.input_width, 3}, ElementType::u8));
    for (std::size_t i = 0; i < model_->tensors.size(); ++i) {
      const Tensor& tensor = model_->tensors[i];
      std::vector<std::int64_t> shape = {batch, tensor.channels, tensor.height, tensor.width};
      if (tensor.kind == Kind::mask) shape.erase(shape.begin() + 1);
      values_.push_back(value(i + 1, shape, tensor.type));
    }
    batch_ = batch;
  }

  Value value(std::size_t buffer, const std::vector<std::int64_t>& shape, ElementType type) const {
    OrtMemoryInfo* place = nullptr;
    check(api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &place), failed());
    const MemoryInfo keeper(place);
    OrtValue* made = nullptr;
    const std::size_t bytes = buffers_[buffer].bytes_per_image * static_cast<std::size_t>(shape.front());
    check(
        api().CreateTensorWithDataAsOrtValue(
            place, buffers_[buffer].memory.get(), bytes, shape.data(), shape.size(),
            type == ElementType::u8 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &made),
        failed());
    return Value(made);
  }

  std::shared_ptr<const Model> model_;
  std::vector<Buffer> buffers_;  // the input's, then the outputs'
  std::vector<Value> values_;    // in the same order, of `batch_` images; they point into the buffers
  int batch_ = 0;                // 0: not known
};

/// As NumPy names it.
std::string type_name(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
      return "uint8";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      return "float32";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return "float16";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return "int64";
    default:
      return "ONNX type " + std::to_string(static_cast<int>(type));
  }
}

/// What a session says of one input or output. Something that is no tensor has no axes.
FoundTensor describe(std::string name, bool is_input, OrtTypeInfo* made, const std::string& what) {
  const TypeInfo info(made);
  FoundTensor found{std::move(name), is_input, "no tensor", {}};
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;
  check(api().CastTypeInfoToTensorInfo(info.get(), &tensor), what);
  if (!tensor) return found;
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::size_t axes = 0;
  check(api().GetTensorElementType(tensor, &type), what);
  check(api().GetDimensionsCount(tensor, &axes), what);
  found.type = type_name(type);
  found.shape.resize(axes);
  check(api().GetDimensions(tensor, found.shape.data(), axes), what);
  return found;
}

/// Every input or every output. The three functions are those of the table for the one or the other.
template <typename Count, typename Name, typename Type>
void describe_all(const OrtSession* session, bool is_input, Count count, Name name, Type type, const std::string& what,
                  std::vector<FoundTensor>& found) {
  std::size_t number = 0;
  check(count(session, &number), what);
  OrtAllocator* allocator = nullptr;
  check(api().GetAllocatorWithDefaultOptions(&allocator), what);
  for (std::size_t i = 0; i < number; ++i) {
    char* text = nullptr;
    check(name(session, i, allocator, &text), what);
    const auto release = [&](char* given) { allocator->Free(allocator, given); };
    const std::unique_ptr<char, decltype(release)> keeper(text, release);
    OrtTypeInfo* made = nullptr;
    check(type(session, i, &made), what);
    found.push_back(describe(text, is_input, made, what));
  }
}

}  // namespace

std::unique_ptr<Engine> open_onnxruntime(const Opening& opening) {
  const std::filesystem::path path = opening.file();
  const std::string what = path.string() + ": ONNX Runtime " + version() + " cannot open it";
  auto model = std::make_shared<Model>();
  model->environment = environment(what);
  const SessionOptions options = session_options(opening.options.threads, what);
  OrtSession* session = nullptr;
  check(api().CreateSession(model->environment.get(), path.c_str(), options.get(), &session), what);
  model->session.reset(session);
  std::vector<FoundTensor> found;
  describe_all(session, true, api().SessionGetInputCount, api().SessionGetInputName, api().SessionGetInputTypeInfo,
               what, found);
  describe_all(session, false, api().SessionGetOutputCount, api().SessionGetOutputName, api().SessionGetOutputTypeInfo,
               what, found);
  check_tensors(found, opening);
  model->card = opening.card();
  model->tensors = output_tensors(model->card);
  model->name = "onnxruntime " + opening.engine.precision + " engine";
  return std::make_unique<OnnxRuntimeEngine>(std::move(model));
}

}  // namespace segdino::detail
