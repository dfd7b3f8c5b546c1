/// OpenVINO on the CPU, in the inference precision that the engine's record states.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <openvino/openvino.hpp>

#include "engine/engine.hpp"
#include "engine/tensors.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

/// One compiled model, shared by the requests of several threads. The core outlives what it has compiled.
struct Compiled {
  ov::Core core;
  ov::CompiledModel model;
  std::vector<ov::Output<const ov::Node>> outputs;  // in the card's order
  std::string name;                                 // in words, of the engine
};

class OpenVinoEngine final : public Engine {
 public:
  /// `largest`: shape of the largest batch, [N, H, W, 3].
  OpenVinoEngine(std::shared_ptr<Compiled> compiled, const ov::Shape& largest) : compiled_(std::move(compiled)) {
    attempt([&] {
      request_ = compiled_->model.create_infer_request();
      memory_ = ov::Tensor(ov::element::u8, largest);
    });
  }

  std::uint8_t* input(int) override { return memory_.data<std::uint8_t>(); }

  double run(int batch) override {
    attempt([&] {
      if (batch == batch_) return;
      batch_ = 0;
      ov::Shape shape = memory_.get_shape();
      shape[0] = static_cast<std::size_t>(batch);
      request_.set_input_tensor(ov::Tensor(ov::element::u8, shape, memory_.data()));
      batch_ = batch;
    });
    const auto began = std::chrono::steady_clock::now();
    attempt([&] { request_.infer(); });
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    attempt([&] {
      outputs_.clear();
      for (const auto& port : compiled_->outputs) outputs_.push_back(request_.get_tensor(port));
    });
    return took.count();
  }

  const void* output(std::size_t index) const override { return outputs_.at(index).data(); }

  std::string device() const override { return "CPU"; }

  std::unique_ptr<Engine> share() const override {
    return std::make_unique<OpenVinoEngine>(compiled_, memory_.get_shape());
  }

 private:
  template <typename Step>
  void attempt(Step step) {
    try {
      step();
    } catch (const ov::Exception& error) {
      throw EngineError(compiled_->name + " failed: " + one_line(error));
    }
  }

  std::shared_ptr<Compiled> compiled_;  // first, so that it goes last
  ov::InferRequest request_;
  ov::Tensor memory_;  // uint8 [largest batch][H][W][3]
  int batch_ = 0;      // that the request is set to; 0: not known
  std::vector<ov::Tensor> outputs_;
};

/// What the CPU can compute in. MissingComponent where OpenVINO's plugin for it, a library of its own that is loaded by
/// name, is not there.
std::vector<std::string> offered_by_cpu(const ov::Core& core) try {
  return core.get_property("CPU", ov::device::capabilities);
} catch (const ov::Exception&) {
  const std::vector<std::string> devices = core.get_available_devices();  // those whose plugin was loaded
  if (std::find(devices.begin(), devices.end(), "CPU") != devices.end()) throw;
  throw MissingComponent(std::string("openvino engines: OpenVINO ") + ov::get_openvino_version().buildNumber +
                             " finds no usable CPU plugin beside libopenvino; install the whole runtime",
                         "CPU", joined(devices));
}

/// What the device must offer: OpenVINO would emulate or replace a precision that it does not have, silently.
void require_precision(const ov::Core& core, const Opening& opening, const std::string& wanted) {
  const std::string needed = wanted == "bf16" ? "BF16" : wanted == "f16" ? "FP16" : "FP32";
  const std::vector<std::string> offered = offered_by_cpu(core);
  if (std::find(offered.begin(), offered.end(), needed) != offered.end()) return;
  throw MissingComponent(opening.file().string() + ": was built to compute in " + wanted +
                             ", which this CPU does not have; build it here: segdino-deploy build-engine --" +
                             opening.engine.precision + " --backend openvino",
                         needed, joined(offered));
}

FoundTensor found(const ov::Output<const ov::Node>& port, const std::string& name, bool is_input) {
  FoundTensor tensor{name, is_input, port.get_element_type().get_type_name(), {}};
  for (const auto& axis : port.get_partial_shape()) tensor.shape.push_back(axis.is_static() ? axis.get_length() : -1);
  if (tensor.type == "u8") tensor.type = "uint8";
  if (tensor.type == "f32") tensor.type = "float32";
  return tensor;
}

/// OpenVINO may know one tensor under several names: the one that the card knows, else any.
std::string name_of(const ov::Output<const ov::Node>& port, const std::vector<std::string>& known) {
  const auto& names = port.get_names();
  for (const std::string& name : known) {
    if (names.count(name) > 0) return name;
  }
  return names.empty() ? "a tensor without a name" : *names.begin();
}

/// The model's outputs in the card's order. InputError where they are not the card's.
std::vector<ov::Output<const ov::Node>> match_outputs(const ov::CompiledModel& model, const Opening& opening) {
  const std::vector<Tensor> tensors = output_tensors(opening.card());
  std::vector<std::string> known;
  for (const Tensor& tensor : tensors) known.push_back(tensor.name);
  std::vector<FoundTensor> all;
  for (const auto& port : model.inputs()) all.push_back(found(port, name_of(port, {kInput}), true));
  for (const auto& port : model.outputs()) all.push_back(found(port, name_of(port, known), false));
  check_tensors(all, opening);
  std::vector<ov::Output<const ov::Node>> ordered;
  for (const std::string& name : known) ordered.push_back(model.output(name));
  return ordered;
}

/// OpenVINO knows what it has cached by the path and the graph, not by the weights: those of a model that was trained
/// again would not be seen. So every content has a folder of its own.
std::filesystem::path cache_folder(const Opening& opening) {
  const EngineRecord& engine = opening.engine;
  std::string name;
  for (const FileRecord& record : opening.bundle.manifest.files) {
    const auto& companions = engine.companions;
    const bool is_read =
        record.name == engine.file || std::find(companions.begin(), companions.end(), record.name) != companions.end();
    if (is_read) name += (name.empty() ? "" : "-") + record.sha256.substr(0, 24);
  }
  return opening.options.cache / name;
}

/// A cache that cannot be written, or that a full disk cuts off, costs time when the engine is opened again, no more.
ov::CompiledModel compile(ov::Core& core, const Opening& opening, const ov::AnyMap& options) {
  const std::string file = opening.file().string();
  if (!opening.options.cache.empty()) {
    try {
      ov::AnyMap with_cache = options;
      with_cache.insert(ov::cache_dir(cache_folder(opening).string()));
      return core.compile_model(file, "CPU", with_cache);
    } catch (const std::exception&) {
      // What is wrong with the model itself is told by the next line.
    }
  }
  return core.compile_model(file, "CPU", options);
}

/// OpenVINO tries all formats that it knows on a file that is no XML, and some of them print.
void require_xml(const Opening& opening) {
  std::ifstream stream(opening.file(), std::ios::binary);
  std::string beginning(5, '\0');
  stream.read(beginning.data(), static_cast<std::streamsize>(beginning.size()));
  if (beginning == "<?xml") return;
  throw InputError(opening.file().string() + ": is no OpenVINO model; build it here: " +
                       rebuild_command(opening.engine, opening.bundle.path, false),
                   "<?xml", printable(beginning));
}

}  // namespace

std::unique_ptr<Engine> open_openvino(const Opening& opening) {
  const std::string file = opening.file().string();
  require_xml(opening);
  std::shared_ptr<Compiled> compiled;
  try {
    compiled = std::make_shared<Compiled>();
  } catch (const ov::Exception& error) {
    throw EngineError("OpenVINO does not start: " + one_line(error));
  }
  compiled->name = "openvino " + opening.engine.precision + " engine";
  const std::string wanted = opening.engine.inference_precision.empty() ? "f32" : opening.engine.inference_precision;
  try {
    require_precision(compiled->core, opening, wanted);
    ov::AnyMap options = {ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                          {ov::hint::inference_precision.name(), wanted}};
    if (opening.options.threads > 0) options.insert(ov::inference_num_threads(opening.options.threads));
    compiled->model = compile(compiled->core, opening, options);
    compiled->outputs = match_outputs(compiled->model, opening);
  } catch (const ov::Exception& error) {
    throw EngineError(file + ": OpenVINO " + ov::get_openvino_version().buildNumber +
                      " cannot open it: " + one_line(error));
  }
  const Card& card = opening.card();
  const auto length = [](int value) { return static_cast<std::size_t>(value); };
  return std::make_unique<OpenVinoEngine>(
      std::move(compiled), ov::Shape{length(card.max_batch), length(card.input_height), length(card.input_width), 3});
}

}  // namespace segdino::detail
