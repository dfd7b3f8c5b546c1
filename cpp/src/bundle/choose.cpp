/// Which engine of a bundle is opened: the rules of segdino_deploy/engines/run/__init__.py.
#include <algorithm>
#include <array>
#include <string_view>

#include "bundle/bundle.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

using Names = std::array<std::string_view, 4>;

constexpr Names kPrecisions = {"fp32", "fp16", "bf16", "int8"};
// The fastest of those that keep the masks, by kind.
constexpr Names kPreferredPrecisions = {"fp16", "bf16", "fp32", "int8"};
constexpr Names kBackends = {"openvino", "onnxruntime", "tensorrt", "tensorrt-rtx"};

/// A name that is not known, of a later version, comes last.
std::ptrdiff_t rank(const Names& order, const std::string& name) {
  return std::find(order.begin(), order.end(), name) - order.begin();
}

void check_known(const char* option, const std::string& value, const Names& known) {
  if (value.empty() || std::find(known.begin(), known.end(), value) != known.end()) return;
  const std::string names = joined(std::vector<std::string>(known.begin(), known.end()));
  throw InputError(std::string(option) + ": '" + printable(value) + "' is none of " + names, names, value);
}

std::string names_of(const Bundle& bundle) {
  std::vector<std::string> names;
  for (const EngineRecord& engine : bundle.manifest.engines) names.push_back(engine.name);
  return joined(names);
}

bool is_allowed(const EngineRecord& engine, const Options& options) {
  return (options.precision.empty() || engine.precision == options.precision) &&
         (options.backend.empty() || engine.backend == options.backend);
}

/// "openvino fp32"; empty where neither is named.
std::string asked_for(const Options& options) {
  const bool both = !options.backend.empty() && !options.precision.empty();
  return options.backend + (both ? " " : "") + options.precision;
}

const EngineRecord& named(const Bundle& bundle, const Options& options) {
  const std::string where = bundle.path.string();
  const auto& engines = bundle.manifest.engines;
  const auto found = std::find_if(engines.begin(), engines.end(),
                                  [&](const EngineRecord& engine) { return engine.name == options.engine; });
  if (found == engines.end()) {
    const std::string has = names_of(bundle);
    throw InputError(where + ": no engine named " + printable(options.engine) + " (has: " + has + ")", options.engine,
                     has);
  }
  if (!is_allowed(*found, options)) {
    const std::string held = found->backend + " " + found->precision, asked = asked_for(options);
    throw InputError(
        where + ": " + found->name + " holds " + held + ", while " + asked + " was asked for; name one only", asked,
        held);
  }
  return *found;
}

}  // namespace

std::vector<EngineRecord> choose_engines(const Bundle& bundle, const Options& options) {
  check_known("precision", options.precision, kPrecisions);
  check_known("backend", options.backend, kBackends);
  if (!options.engine.empty()) return {named(bundle, options)};
  std::vector<EngineRecord> engines;
  std::copy_if(bundle.manifest.engines.begin(), bundle.manifest.engines.end(), std::back_inserter(engines),
               [&](const EngineRecord& engine) { return is_allowed(engine, options); });
  if (engines.empty()) {
    const std::string asked = asked_for(options);
    const std::string has = names_of(bundle);
    const std::string where = bundle.path.string();
    std::string build = "segdino-deploy build-engine " + shell_quoted(where) + " --" +
                        (options.precision.empty() ? "fp16" : options.precision);
    if (!options.backend.empty()) build += " --backend " + options.backend;
    throw InputError(
        where + ": no " + asked + (asked.empty() ? "" : " ") + "engine (has: " + has + "); make one: " + build,
        asked.empty() ? "an engine" : asked, has);
  }
  std::stable_sort(engines.begin(), engines.end(), [](const EngineRecord& a, const EngineRecord& b) {
    const auto key = [](const EngineRecord& engine) {
      return std::make_pair(rank(kPreferredPrecisions, engine.precision), rank(kBackends, engine.backend));
    };
    return key(a) < key(b);
  });
  return engines;
}

}  // namespace segdino::detail
