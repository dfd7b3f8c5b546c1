#include "engine/tensors.hpp"

#include <algorithm>

#include "text.hpp"

namespace segdino::detail {
namespace {

struct Wanted {
  std::string name;
  bool is_input;
  std::string type;
  std::vector<std::int64_t> shape;
};

/// By the card; -1 for a batch that is not fixed.
std::vector<Wanted> wanted_tensors(const Card& card) {
  const std::int64_t batch = card.is_fixed_batch() ? card.max_batch : -1;
  std::vector<Wanted> wanted = {{kInput, true, "uint8", {batch, card.input_height, card.input_width, 3}}};
  for (const Tensor& tensor : output_tensors(card)) {
    if (tensor.kind == Kind::mask) {
      wanted.push_back({tensor.name, false, "uint8", {batch, tensor.height, tensor.width}});
    } else {
      wanted.push_back({tensor.name, false, "float32", {batch, tensor.channels, tensor.height, tensor.width}});
    }
  }
  return wanted;
}

std::string in_words(const std::string& type, const std::vector<std::int64_t>& shape) {
  std::vector<std::string> lengths;
  for (std::int64_t length : shape) lengths.push_back(std::to_string(length));
  return type + " [" + joined(lengths) + "]";
}

bool fits(const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& wanted) {
  return std::equal(found.begin(), found.end(), wanted.begin(), wanted.end(),
                    [](std::int64_t a, std::int64_t b) { return a == b || a == -1 || b == -1; });
}

template <typename Tensors>
std::string names_of(const Tensors& tensors) {
  std::vector<std::string> names;
  for (const auto& tensor : tensors) names.push_back(tensor.name);
  return joined(names);
}

}  // namespace

void check_tensors(const std::vector<FoundTensor>& found, const Opening& opening) {
  const std::vector<Wanted> wanted = wanted_tensors(opening.card());
  const std::string file = opening.file().string();
  const std::string cure = "; build it here: " + rebuild_command(opening.engine, opening.bundle.path, false);
  const auto by_name = [&](const std::string& name) {
    return std::find_if(wanted.begin(), wanted.end(), [&](const Wanted& tensor) { return tensor.name == name; });
  };
  const bool all_known = std::all_of(found.begin(), found.end(),
                                     [&](const FoundTensor& tensor) { return by_name(tensor.name) != wanted.end(); });
  if (!all_known || found.size() != wanted.size()) {
    throw InputError(file + ": the engine has the tensors " + names_of(found) + "; the model's card names " +
                         names_of(wanted) + cure,
                     names_of(wanted), names_of(found));
  }
  for (const FoundTensor& tensor : found) {
    const Wanted& asked = *by_name(tensor.name);
    if (fits(tensor.shape, asked.shape) && tensor.type == asked.type && tensor.is_input == asked.is_input) continue;
    const std::string expected = in_words(asked.type, asked.shape);
    const std::string got = in_words(tensor.type, tensor.shape);
    throw InputError(
        file + ": the engine's " + tensor.name + " is " + got + "; by the model's card it is " + expected + cure,
        expected, got);
  }
}

}  // namespace segdino::detail
