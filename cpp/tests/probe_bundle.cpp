/// Bundles, their files and the canary, for tests/cpp/bundle_probes.py. What a probe gives back, beside its status, is
/// the JSON text of probe_text().
#include <cstring>
#include <nlohmann/json.hpp>

#include "answer.hpp"
#include "bundle/bundle.hpp"
#include "bundle/npz.hpp"
#include "bundle/sha256.hpp"
#include "canary.hpp"
#include "probe_error.hpp"
#include "text.hpp"

using namespace segdino::detail;
using Json = nlohmann::ordered_json;

namespace {

thread_local std::string text, kind, expected, got;

/// Runs `function` and keeps its result; or the kind of the error that it has thrown, and what that compared.
template <typename Function>
int answer(Function&& function) {
  const auto keep = [](const char* name, const segdino::Error& error) {
    kind = name;
    expected = error.expected();
    got = error.got();
  };
  return probe([&] {
    try {
      text = function().dump(-1, ' ', true, Json::error_handler_t::replace);
    } catch (const BundleChanged& error) {
      keep("BundleChanged", error);
      throw;
    } catch (const segdino::InputError& error) {
      keep("InputError", error);
      throw;
    } catch (const segdino::CheckFailed& error) {
      keep("CheckFailed", error);
      throw;
    } catch (const std::exception&) {
      kind = "foreign";
      throw;
    }
  });
}

Json json_of(const Card& card) {
  Json heads = Json::array();
  for (const segdino::HeadInfo& head : card.heads) {
    heads.push_back({{"name", head.name},
                     {"family", head.family},
                     {"num_classes", head.num_classes},
                     {"class_names", head.class_names},
                     {"outputs", head.outputs},
                     {"threshold", head.threshold}});
  }
  Json tensors = Json::array();
  for (const Tensor& tensor : output_tensors(card)) {
    tensors.push_back({{"name", tensor.name},
                       {"head", tensor.head},
                       {"is_float", tensor.type == ElementType::f32},
                       {"channels", tensor.channels},
                       {"bytes", tensor.bytes()}});
  }
  return {{"input_size", {card.input_height, card.input_width}},
          {"batch", {card.min_batch, card.max_batch}},
          {"resize_filter", card.resize_filter == ResizeFilter::bicubic ? "bicubic" : "bilinear"},
          {"heads", std::move(heads)},
          {"tensors", std::move(tensors)}};
}

Json json_of(const EngineRecord& engine) {
  return {{"name", engine.name},
          {"file", engine.file},
          {"companions", engine.companions},
          {"backend", engine.backend},
          {"precision", engine.precision},
          {"source", engine.source},
          {"inference_precision", engine.inference_precision},
          {"built_with", engine.built_with},
          {"lowerings", engine.lowerings},
          {"version_compatible", engine.version_compatible},
          {"strip_weights", engine.strip_weights},
          {"hardware_compatible", engine.hardware_compatible},
          {"compute_capabilities", engine.compute_capabilities},
          {"options", engine.options}};
}

Json json_of(const Manifest& manifest) {
  Json engines = Json::array(), files = Json::array();
  for (const EngineRecord& engine : manifest.engines) engines.push_back(json_of(engine));
  for (const FileRecord& file : manifest.files) files.push_back({file.name, file.sha256, file.size_bytes});
  return {{"tool_version", manifest.tool_version},
          {"model", json_of(manifest.card)},
          {"canaries", manifest.canaries},
          {"engines", std::move(engines)},
          {"files", std::move(files)}};
}

const EngineRecord& engine_named(const Bundle& bundle, const std::string& name) {
  for (const EngineRecord& engine : bundle.manifest.engines) {
    if (engine.name == name) return engine;
  }
  throw std::out_of_range(name);
}

/// Answers with what a test has prepared, whatever it is asked.
class PreparedEngine : public Engine {
 public:
  PreparedEngine(std::size_t input_bytes, const void* const* outputs) : input_(input_bytes), outputs_(outputs) {}

  std::uint8_t* input(int) override { return input_.data(); }
  double run(int) override { return 0; }
  const void* output(std::size_t index) const override { return outputs_[index]; }
  std::vector<segdino::DeviceOutput> run_device(const segdino::DeviceBatch&) override { return {}; }
  std::string device() const override { return "a test"; }
  std::unique_ptr<Engine> share() const override { return nullptr; }

  const std::vector<std::uint8_t>& seen() const { return input_; }

 private:
  std::vector<std::uint8_t> input_;
  const void* const* outputs_;
};

}  // namespace

extern "C" {

SEGDINO_API const char* probe_text() { return text.c_str(); }

/// Of the last error: "InputError", "BundleChanged", "CheckFailed" or "foreign".
SEGDINO_API const char* probe_kind() { return kind.c_str(); }
SEGDINO_API const char* probe_expected() { return expected.c_str(); }
SEGDINO_API const char* probe_got() { return got.c_str(); }

SEGDINO_API int probe_parse_manifest(const char* content, std::size_t size, const char* where) {
  return answer([&] { return json_of(parse_manifest({content, size}, where)); });
}

SEGDINO_API int probe_read_bundle(const char* path) {
  return answer([&] { return json_of(read_bundle(path).manifest); });
}

/// `engine`: null for all files.
SEGDINO_API int probe_check_files(const char* path, const char* engine) {
  return answer([&] {
    const Bundle bundle = read_bundle(path);
    if (engine == nullptr) {
      check_files(bundle);
    } else {
      check_files_of(bundle, engine_named(bundle, engine));
    }
    return Json();
  });
}

/// The files of a bundle against a manifest that was read before.
SEGDINO_API int probe_check_files_of(const char* path, const char* content, std::size_t size) {
  return answer([&] {
    check_files(Bundle{path, parse_manifest({content, size}, path)});
    return Json();
  });
}

/// Names in the order in which they are tried.
SEGDINO_API int probe_choose_engines(const char* path, const char* content, std::size_t size, const char* engine,
                                     const char* backend, const char* precision) {
  return answer([&] {
    segdino::Options options;
    options.engine = engine;
    options.backend = backend;
    options.precision = precision;
    Json names = Json::array();
    for (const EngineRecord& chosen : choose_engines({path, parse_manifest({content, size}, path)}, options)) {
      names.push_back(chosen.name);
    }
    return names;
  });
}

SEGDINO_API int probe_rebuild_command(const char* path, const char* content, std::size_t size, const char* engine,
                                      int same_targets) {
  return answer([&] {
    const Bundle bundle = {path, parse_manifest({content, size}, path)};
    return Json(rebuild_command(engine_named(bundle, engine), path, same_targets != 0));
  });
}

SEGDINO_API int probe_sha256(const char* path) {
  return answer([&] { return Json(sha256_of(path)); });
}

SEGDINO_API int probe_shell_quoted(const char* word) {
  return answer([&] { return Json(shell_quoted(word)); });
}

SEGDINO_API int probe_one_line(const char* words) {
  return answer([&] { return Json(one_line(std::string(words))); });
}

/// Name to [dtype, shape, offset into `values`]; `values` holds `room` bytes.
SEGDINO_API int probe_read_npz(const char* content, std::size_t size, std::uint64_t max_bytes, std::uint8_t* values,
                               std::size_t room) {
  return answer([&] {
    Json arrays = Json::object();
    std::size_t offset = 0;
    for (const auto& [name, array] : read_npz({content, size}, "test.npz", max_bytes)) {
      if (array.bytes.size() > room - offset) throw std::length_error(name);
      if (!array.bytes.empty()) std::memcpy(values + offset, array.bytes.data(), array.bytes.size());
      arrays[name] = {array.dtype, array.shape, offset};
      offset += array.bytes.size();
    }
    return arrays;
  });
}

SEGDINO_API double probe_logit_of(double threshold) { return logit_of(threshold); }

SEGDINO_API void probe_mask_from_values(const float* values, int classes, std::size_t pixels, float threshold,
                                        std::uint8_t* mask) {
  mask_from_values(values, classes, pixels, threshold, mask);
}

/// `outputs`: in the card's order. `seen`: uint8 [N][H][W][3], what the engine was given.
SEGDINO_API int probe_check_canary(const char* path, const char* engine, const void* const* outputs, std::uint8_t* seen,
                                   std::size_t size) {
  return answer([&] {
    const Bundle bundle = read_bundle(path);
    PreparedEngine prepared(size, outputs);
    check_canary(bundle, engine_named(bundle, engine), prepared);
    std::memcpy(seen, prepared.seen().data(), size);
    return Json();
  });
}

}  // extern "C"
