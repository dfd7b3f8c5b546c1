/// Engines of text, one word after the other:
///
///     simulated <smallest batch> <largest batch>
///     tensor <name> input|output <number of the type> <number of axes> <lengths, -1 for any>
///     stripped
///
/// They compute what tests/engines/run/model.py does: colours as logits, the brightest one as the class.
#include <NvInferRuntime.h>
#include <NvOnnxParser.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <utility>

#include "world.hpp"

namespace simulation {
namespace {

using nvinfer1::Dims;
using Severity = nvinfer1::ILogger::Severity;
using Lock = std::lock_guard<std::recursive_mutex>;

/// Counted while it lives, with what must not go before it.
class Object {
 public:
  Object(const char* name, Object* needed) : name_(name), needed_(needed), device_(device()) {
    const Lock lock(world().mutex);
    ++world().objects;
    if (needed_) ++needed_->dependents_;
  }
  ~Object() {
    const Lock lock(world().mutex);
    --world().objects;
    world().log.push_back(std::string(name_) + " is gone");
    world().require(dependents_ == 0, std::string(name_) + " went before what was made with it");
    world().require(device() == device_, std::string(name_) + " went on another GPU");
    if (needed_) --needed_->dependents_;
  }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

 private:
  const char* name_;
  Object* needed_;
  int device_;
  int dependents_ = 0;
};

struct Tensor {
  std::string name;
  bool is_input = false;
  nvinfer1::DataType type = nvinfer1::DataType::kFLOAT;
  Dims shape = {};
};

struct Plan {
  int smallest = 0, largest = 0;
  std::vector<Tensor> tensors;
  bool is_stripped = false;
};

bool read_plan(const std::string& text, Plan& plan) {
  std::istringstream words(text);
  std::string word;
  if (!(words >> word >> plan.smallest >> plan.largest) || word != "simulated") return false;
  while (words >> word) {
    if (word == "stripped") {
      plan.is_stripped = true;
      continue;
    }
    Tensor tensor;
    std::string mode;
    int type = 0;
    if (word != "tensor" || !(words >> tensor.name >> mode >> type >> tensor.shape.nbDims)) return false;
    tensor.is_input = mode == "input";
    tensor.type = static_cast<nvinfer1::DataType>(type);
    for (int axis = 0; axis < tensor.shape.nbDims; ++axis) {
      if (!(words >> tensor.shape.d[axis])) return false;
    }
    plan.tensors.push_back(tensor);
  }
  return true;
}

class Memory final : public nvinfer1::IHostMemory {
 public:
  explicit Memory(std::string content) : content_(std::move(content)) {}
  const void* data() const noexcept override { return content_.data(); }
  std::size_t size() const noexcept override { return content_.size(); }

 private:
  std::string content_;
};

class Cache final : public nvinfer1::IRuntimeCache {
 public:
  explicit Cache(Object* needed) : object("cache", needed) {}
  nvinfer1::IHostMemory* serialize() const noexcept override { return new Memory(content); }
  bool deserialize(const void* blob, std::size_t size) noexcept override {
    const std::string found(static_cast<const char*>(blob), size);
    if (found.rfind("compiled", 0) != 0) return false;
    content = found;
    return true;
  }

  mutable Object object;
  std::string content;
};

class Config final : public nvinfer1::IRuntimeConfig {
 public:
  explicit Config(Object* needed) : object("config", needed), needed_(needed) {}
  nvinfer1::IRuntimeCache* createRuntimeCache() const noexcept override { return new Cache(needed_); }
  bool setRuntimeCache(const nvinfer1::IRuntimeCache& given) noexcept override {
    cache = const_cast<Cache*>(dynamic_cast<const Cache*>(&given));
    return true;
  }
  bool setCudaGraphStrategy(nvinfer1::CudaGraphStrategy strategy) noexcept override {
    world().log.push_back(strategy == nvinfer1::CudaGraphStrategy::kDISABLED ? "no graphs" : "whole graphs");
    return true;
  }

  Object object;
  Cache* cache = nullptr;

 private:
  Object* needed_;
};

class Context final : public nvinfer1::IExecutionContext {
 public:
  Context(const Plan& plan, const bool& has_weights, nvinfer1::ILogger& logger, Object* needed)
      : object_("context", needed), plan_(plan), has_weights_(has_weights), logger_(logger) {}

  bool setInputShape(const char* name, const Dims& shape) noexcept override {
    const Lock lock(world().mutex);
    const Tensor* tensor = find(name);
    bool fits = tensor && tensor->is_input && shape.nbDims == tensor->shape.nbDims && shape.d[0] >= plan_.smallest &&
                shape.d[0] <= plan_.largest;
    for (int axis = 1; fits && axis < shape.nbDims; ++axis) fits = shape.d[axis] == tensor->shape.d[axis];
    if (!fits) {
      logger_.log(Severity::kERROR, "the shape is outside the profile\nmore words");
      return false;
    }
    shape_ = shape;
    return true;
  }

  bool setTensorAddress(const char* name, void* address) noexcept override {
    const Lock lock(world().mutex);
    if (!find(name) || reinterpret_cast<std::uintptr_t>(address) % 256 != 0) return false;
    addresses_[name] = static_cast<std::uint8_t*>(address);
    return true;
  }

  bool setNvtxVerbosity(nvinfer1::ProfilingVerbosity verbosity) noexcept override {
    world().log.push_back(verbosity == nvinfer1::ProfilingVerbosity::kNONE ? "no marks" : "marks");
    return true;
  }

  bool enqueueV3(cudaStream_t stream) noexcept override {
    if (const auto interlude = std::exchange(world().interlude, nullptr)) interlude();  // other threads run meanwhile
    const Lock lock(world().mutex);
    world().log.push_back("execute");
    if (world().refuses_capture && is_capturing(stream)) {
      logger_.log(Severity::kERROR, "not permitted while a stream is captured");
      return false;
    }
    if (world().refusals > 0) {
      --world().refusals;
      shape_.d[0] = 0;  // nobody says what a context keeps after that
      refuse();
      return false;
    }
    if (shape_.d[0] == 0 || addresses_.size() != plan_.tensors.size()) return false;
    put(stream, [this, addresses = addresses_, shape = shape_] { compute(addresses, shape); });
    return true;
  }

 private:
  using Addresses = std::map<std::string, std::uint8_t*>;

  const Tensor* find(const std::string& name) const {
    const auto found = std::find_if(plan_.tensors.begin(), plan_.tensors.end(),
                                    [&](const Tensor& tensor) { return tensor.name == name; });
    return found == plan_.tensors.end() ? nullptr : &*found;
  }

  void refuse() {
    if (world().refusal.empty()) return;
    if (world().is_foreign) {
      std::thread([this] { logger_.log(Severity::kERROR, world().refusal.c_str()); }).join();
      return;
    }
    logger_.log(Severity::kERROR, world().refusal.c_str());
    logger_.log(Severity::kWARNING, "a warning");
    logger_.log(Severity::kERROR, "that is why it failed");
  }

  /// [N, H, W, 3] to [N, H, W] and [N, 3, H, W].
  void compute(const Addresses& addresses, const Dims& shape) const {
    world().clock_ms += kEngineMs;
    const bool is_right = has_weights_ && shape_.d[0] == shape.d[0];
    const std::int64_t pixels = shape.d[1] * shape.d[2];
    std::uint8_t* const mask = addresses.at("mask");
    auto* const logits = reinterpret_cast<float*>(addresses.at("logits"));
    const std::uint8_t* const image = addresses.at("image");
    for (std::int64_t i = 0; i < shape.d[0] * pixels; ++i) {
      const std::uint8_t* const colours = image + 3 * i;
      const auto brightest = std::max_element(colours, colours + 3) - colours;
      mask[i] = is_right ? static_cast<std::uint8_t>(brightest) : kNonsense;
      for (std::int64_t c = 0; c < 3; ++c) {
        logits[(i / pixels * 3 + c) * pixels + i % pixels] = is_right ? static_cast<float>(colours[c]) / 2 : -1.0F;
      }
    }
  }

  Object object_;
  const Plan& plan_;
  const bool& has_weights_;
  nvinfer1::ILogger& logger_;
  Dims shape_ = {};
  Addresses addresses_;
};

class Engine final : public nvinfer1::ICudaEngine {
 public:
  Engine(Plan plan, nvinfer1::ILogger& logger, Object* needed)
      : object("engine", needed), has_weights(!plan.is_stripped), plan_(std::move(plan)), logger_(logger) {}

  std::int32_t getNbIOTensors() const noexcept override { return static_cast<std::int32_t>(plan_.tensors.size()); }
  const char* getIOTensorName(std::int32_t index) const noexcept override {
    return plan_.tensors[static_cast<std::size_t>(index)].name.c_str();
  }
  nvinfer1::TensorIOMode getTensorIOMode(const char* name) const noexcept override {
    return find(name).is_input ? nvinfer1::TensorIOMode::kINPUT : nvinfer1::TensorIOMode::kOUTPUT;
  }
  nvinfer1::DataType getTensorDataType(const char* name) const noexcept override { return find(name).type; }
  Dims getTensorShape(const char* name) const noexcept override { return find(name).shape; }
  nvinfer1::IRuntimeConfig* createRuntimeConfig() noexcept override { return new Config(&object); }

  nvinfer1::IExecutionContext* createExecutionContext() noexcept override { return make(&object); }
  nvinfer1::IExecutionContext* createExecutionContext(nvinfer1::IRuntimeConfig* given) noexcept override {
    auto* const config = dynamic_cast<Config*>(given);
    nvinfer1::IExecutionContext* const made = make(&config->object);
    if (made) config->cache->content += "compiled ";
    return made;
  }

  Object object;
  bool has_weights;

 private:
  nvinfer1::IExecutionContext* make(Object* needed) {
    const Lock lock(world().mutex);
    world().log.push_back("create_context");
    if (--world().contexts_left >= 0) return new Context(plan_, has_weights, logger_, needed);
    logger_.log(Severity::kERROR, "out of memory for a context");
    return nullptr;
  }

  const Tensor& find(const std::string& name) const {
    return *std::find_if(plan_.tensors.begin(), plan_.tensors.end(),
                         [&](const Tensor& tensor) { return tensor.name == name; });
  }

  Plan plan_;
  nvinfer1::ILogger& logger_;
};

class Runtime final : public nvinfer1::IRuntime {
 public:
  explicit Runtime(nvinfer1::ILogger& logger) : logger_(logger) {}

  nvinfer1::ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept override {
    Plan plan;
    if (read_plan(std::string(static_cast<const char*>(blob), size), plan)) return new Engine(plan, logger_, &object_);
    logger_.log(Severity::kERROR, "Serialization assertion failed");
    return nullptr;
  }
  void setEngineHostCodeAllowed(bool allowed) noexcept override { world().is_host_code_allowed = allowed; }
  void setDLACore(std::int32_t core) noexcept override { world().dla_core = core; }
  nvinfer1::EngineValidity getEngineValidity(const void*, std::int64_t,
                                             std::uint64_t* diagnostics) const noexcept override {
    logger_.log(Severity::kERROR, "said to the question");
    *diagnostics = world().validity;
    return world().validity ? nvinfer1::EngineValidity::kINVALID : nvinfer1::EngineValidity::kVALID;
  }

 private:
  Object object_{"runtime", nullptr};
  nvinfer1::ILogger& logger_;
};

class Refitter final : public nvinfer1::IRefitter {
 public:
  explicit Refitter(Engine& engine) : engine_(engine), object_("refitter", &engine.object) {}
  std::int32_t getMissingWeights(std::int32_t, const char**) noexcept override { return has_all ? 0 : 1; }
  bool refitCudaEngine() noexcept override { return engine_.has_weights = has_all; }
  bool has_all = false;

 private:
  Engine& engine_;
  Object object_;
};

class ParserRefitter final : public nvonnxparser::IParserRefitter {
 public:
  ParserRefitter(Refitter& refitter, nvinfer1::ILogger& logger) : refitter_(refitter), logger_(logger) {}
  bool refitFromBytes(const void* model, std::size_t size) noexcept override {
    refitter_.has_all = std::string(static_cast<const char*>(model), size) == "weights";
    if (!refitter_.has_all) logger_.log(Severity::kERROR, "the weights have other names");
    return refitter_.has_all;
  }

 private:
  Refitter& refitter_;
  nvinfer1::ILogger& logger_;
};

}  // namespace
}  // namespace simulation

nvinfer1::IRuntime* nvinfer1::createInferRuntime(ILogger& logger) noexcept { return new simulation::Runtime(logger); }

nvinfer1::IRefitter* nvinfer1::createInferRefitter(ICudaEngine& engine, ILogger&) noexcept {
  return new simulation::Refitter(dynamic_cast<simulation::Engine&>(engine));
}

nvonnxparser::IParserRefitter* nvonnxparser::createParserRefitter(nvinfer1::IRefitter& refitter,
                                                                  nvinfer1::ILogger& logger) noexcept {
  return new simulation::ParserRefitter(dynamic_cast<simulation::Refitter&>(refitter), logger);
}

std::int32_t getInferLibMajorVersion() noexcept { return simulation::world().version[0]; }
std::int32_t getInferLibMinorVersion() noexcept { return simulation::world().version[1]; }
std::int32_t getInferLibPatchVersion() noexcept { return simulation::world().version[2]; }
std::int32_t getInferLibBuildVersion() noexcept { return simulation::world().version[3]; }
