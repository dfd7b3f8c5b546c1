#include "bundle/manifest.hpp"

#include <algorithm>
#include <climits>
#include <filesystem>
#include <set>

#include "bundle/card.hpp"
#include "bundle/json_node.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

constexpr const char* kCanary = "canary.npz";  // of models whose record names none

void check_schema(const Node& root, const std::string& where) {
  const std::optional<Node> found = root.find("schema_version");
  if (!found) return;  // Python's default, too, is the current one
  found->require(found->json().is_number_integer(), "a whole number");
  const std::string version = found->json().dump();
  const std::string ours = std::to_string(kSchemaVersion);
  const bool is_huge = found->json().is_number_unsigned() && found->json().get<std::uint64_t>() > INT_MAX;
  if (is_huge || found->json().get<std::int64_t>() > kSchemaVersion) {
    throw InputError(where + ": written by a newer segdino-deploy (schema " + version +
                         "): build and install this library again, from that version",
                     ours, version);
  }
  if (found->json().get<std::int64_t>() == kSchemaVersion) return;
  found->require(root.find("tool_version").has_value(), ours);  // a stranger's file must not be called outdated
  throw InputError(where + ": written by an older segdino-deploy (schema " + version + "): remove it and export again",
                   ours, version);
}

/// "workspace_mib" is "--workspace" on the command line.
std::string option_of(std::string field) {
  constexpr std::string_view kUnit = "_mib";
  if (field.size() > kUnit.size() && field.compare(field.size() - kUnit.size(), kUnit.size(), kUnit) == 0) {
    field.resize(field.size() - kUnit.size());
  }
  std::replace(field.begin(), field.end(), '_', '-');
  return "--" + field;
}

/// As it stands behind its option on the command line; empty for true.
std::string option_value(const Node& node) {
  if (node.json().is_string()) return node.name();
  if (node.json().is_array()) {
    std::string value;
    for (const Node& element : node.elements()) value += (value.empty() ? "" : ",") + element.name();
    return value;
  }
  node.require(node.json().is_number() || node.json() == true, "a text, a number, true or an array of texts");
  return node.json().is_number() ? node.json().dump() : "";
}

/// Of TensorRT's receipt: the options that were not left to the builder.
void read_options(const Node& options, EngineRecord& engine) {
  for (const auto& [field, value] : options.members()) {
    if (value.json().is_null() || value.json() == false) continue;
    if (field == "version_compatible") engine.version_compatible = value.boolean();
    if (field == "strip_weights") engine.strip_weights = value.boolean();
    if (field == "hardware_compatible") engine.hardware_compatible = value.one_of({"same", "ampere-plus"});
    if (field == "compute_capabilities") engine.compute_capabilities = value.texts();
    value.require_name(field);
    engine.options.emplace_back(option_of(field), option_value(value));
  }
}

EngineRecord read_engine(const std::string& name, const Node& node) {
  EngineRecord engine;
  engine.name = name;
  engine.file = node.at("file").file_name();
  if (const auto companions = node.find("companions")) {
    for (const Node& companion : companions->elements()) engine.companions.push_back(companion.file_name());
  }
  engine.backend = node.at("backend").name();
  engine.precision = node.at("precision").one_of({"fp32", "fp16", "bf16", "int8"});
  engine.source = node.at("source").file_name();
  for (const auto& [key, value] : node.at("built_with").members()) engine.built_with[key] = value.text();
  const auto inference_precision = node.find("inference_precision");
  if (inference_precision && !inference_precision->json().is_null()) {
    engine.inference_precision = inference_precision->one_of({"f32", "bf16", "f16"});
  }
  if (const auto lowering = node.find("lowering")) {
    for (const Node& record : lowering->elements()) {
      const std::string chosen = record.at("chosen").text();
      if (chosen != "as exported") engine.lowerings.push_back(chosen);
    }
  }
  if (const auto receipt = node.find("receipt")) {
    if (const auto options = receipt->find("options")) read_options(*options, engine);
  }
  return engine;
}

FileRecord read_file(const std::string& name, const Node& node) {
  FileRecord file;
  file.name = name;
  const Node sha256 = node.at("sha256");
  file.sha256 = sha256.text();
  sha256.require(file.sha256.size() == 64 && file.sha256.find_first_not_of("0123456789abcdef") == std::string::npos,
                 "64 hexadecimal digits");
  file.size_bytes = static_cast<std::uint64_t>(node.at("size_bytes").whole(0, INT64_MAX));
  return file;
}

/// Which canary the engines of an ONNX file must answer.
std::map<std::string, std::string> read_canaries(const Node& onnx) {
  std::map<std::string, std::string> canaries;
  for (const auto& [key, model] : onnx.members()) {
    const auto canary = model.find("canary");
    canaries[model.at("file").file_name()] = canary ? canary->file_name() : kCanary;
  }
  return canaries;
}

std::vector<FileRecord> read_files(const Node& node) {
  std::vector<FileRecord> files;
  for (const auto& [name, file] : node.members()) {
    file.require_file_name(name);
    files.push_back(read_file(name, file));
  }
  return files;
}

/// OpenVINO reads the weights beside the model, whether the manifest names them or not: then it must have their hash.
void add_weights(EngineRecord& engine) {
  if (engine.backend != "openvino") return;
  const std::string weights = std::filesystem::path(engine.file).replace_extension(".bin").generic_string();
  auto& companions = engine.companions;
  if (std::find(companions.begin(), companions.end(), weights) == companions.end()) companions.push_back(weights);
}

std::vector<EngineRecord> read_engines(const Node& node, const std::vector<FileRecord>& files) {
  std::set<std::string> hashed;
  for (const FileRecord& file : files) hashed.insert(file.name);
  std::vector<EngineRecord> engines;
  for (const auto& [name, engine] : node.members()) {
    engine.require_name(name);
    engines.push_back(read_engine(name, engine));
    add_weights(engines.back());
    std::vector<std::string> read = engines.back().companions;
    read.push_back(engines.back().file);
    if (engines.back().strip_weights) read.push_back(engines.back().source);
    for (const std::string& file : read) {
      engine.require(hashed.count(file) == 1, "a sha256 of " + printable(file) + " among the files", "none");
    }
  }
  return engines;
}

}  // namespace

Manifest parse_manifest(std::string_view text, const std::string& where) {
  const Json content = parse_json(text, where);
  const Node root(content, where);
  check_schema(root, where);
  Manifest manifest;
  manifest.tool_version = root.at("tool_version").name();
  manifest.card = read_card(root.at("model"));
  if (const auto onnx = root.find("onnx")) manifest.canaries = read_canaries(*onnx);
  if (const auto files = root.find("files")) manifest.files = read_files(*files);
  if (const auto engines = root.find("engines")) manifest.engines = read_engines(*engines, manifest.files);
  return manifest;
}

}  // namespace segdino::detail
