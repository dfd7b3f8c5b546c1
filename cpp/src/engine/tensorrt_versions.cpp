#include "engine/tensorrt_versions.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

#include "text.hpp"

namespace segdino::detail {
namespace {

constexpr const char* kCapability = "compute_capability";  // key of `EngineRecord::built_with`

std::vector<std::string> parts_of(const std::string& version) {
  std::vector<std::string> parts(1);
  for (char c : version) {
    if (c == '.') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// One number of a version, of any length, so that numbers compare as numbers do: 9 is less than 10.
struct Number {
  std::string digits;  // without leading zeros

  bool operator==(const Number& other) const { return digits == other.digits; }
  bool operator<(const Number& other) const {
    return digits.size() != other.digits.size() ? digits.size() < other.digits.size() : digits < other.digits;
  }
};

/// "10.13.0rc1": 10 and 13; parts that are no numbers are left out.
std::vector<Number> numbers_of(const std::string& version) {
  std::vector<Number> numbers;
  for (const std::string& part : parts_of(version)) {
    if (part.empty() || part.find_first_not_of("0123456789") != std::string::npos) continue;
    numbers.push_back({part.substr(std::min(part.find_first_not_of('0'), part.size()))});
  }
  return numbers;
}

/// Major, minor and patch.
std::string short_version(const std::string& version) {
  const std::vector<std::string> parts = parts_of(version);
  std::string text = parts.front();
  for (std::size_t i = 1; i < parts.size() && i < 3; ++i) text += "." + parts[i];
  return text;
}

/// "8.9": sm_89.
std::string architecture(const std::string& capability) {
  std::string text = "sm_";
  std::copy_if(capability.begin(), capability.end(), std::back_inserter(text), [](char c) { return c != '.'; });
  return text;
}

/// The compute capabilities that the engine was built for; none: not known.
std::vector<std::string> targets_of(const EngineRecord& engine) {
  if (!engine.compute_capabilities.empty()) return engine.compute_capabilities;
  const auto built_on = engine.built_with.find(kCapability);
  if (built_on == engine.built_with.end() || built_on->second.empty()) return {};
  return {built_on->second};
}

bool fits_gpu(const EngineRecord& engine, const Flavour& flavour, const Gpu& gpu) {
  if (engine.hardware_compatible == "ampere-plus") {
    const std::vector<Number> here = numbers_of(gpu.compute_capability), ampere = numbers_of("8.0");
    return !std::lexicographical_compare(here.begin(), here.end(), ampere.begin(), ampere.end());
  }
  // Portable over GPUs: the runtime itself says which it refuses.
  if (flavour.builds_without_gpu && engine.compute_capabilities.empty()) return true;
  const std::vector<std::string> targets = targets_of(engine);
  return targets.empty() || std::find(targets.begin(), targets.end(), gpu.compute_capability) != targets.end();
}

}  // namespace

std::string why_it_cannot_run(const EngineRecord& engine, const Flavour& flavour, const std::string& version,
                              const Gpu& gpu) {
  const auto recorded = engine.built_with.find(flavour.module);
  const std::string then = recorded == engine.built_with.end() ? version : recorded->second;
  const std::vector<Number> built = numbers_of(then), here = numbers_of(version);
  const bool is_later = !std::lexicographical_compare(here.begin(), here.end(), built.begin(), built.end());
  if ((built == here || (engine.version_compatible && is_later)) && fits_gpu(engine, flavour, gpu)) return "";
  std::string where;
  for (const std::string& target : targets_of(engine)) where += (where.empty() ? "" : " and ") + architecture(target);
  return std::string("built for ") + flavour.title + " " + printable(short_version(then)) + " on " +
         (where.empty() ? "another GPU" : printable(where)) + "; this machine has " + short_version(version) + " on " +
         architecture(gpu.compute_capability) + " (" + gpu.name + ")";
}

}  // namespace segdino::detail
