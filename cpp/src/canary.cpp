#include "canary.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <system_error>

#include "answer.hpp"
#include "bundle/npz.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

struct Canary {
  std::vector<std::uint8_t> image;         // [N, H, W, 3], N the smallest batch that the model takes
  std::vector<std::vector<float>> logits;  // of each head [N, C, H, W], the reference's
};

std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::error_code absent;
  const std::uintmax_t size = std::filesystem::file_size(file, absent);
  if (!stream || absent) throw InputError("it cannot be read");
  std::string content(static_cast<std::size_t>(size), '\0');
  stream.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<std::size_t>(stream.gcount()));
  return content;
}

const Array& find(const std::map<std::string, Array>& arrays, const std::string& name, const std::string& dtype,
                  const std::vector<std::int64_t>& shape) {
  const auto found = arrays.find(name);
  if (found == arrays.end()) throw InputError("no array named " + printable(name));
  if (found->second.dtype != dtype || found->second.shape != shape) {
    throw InputError(printable(name) + " is of another type or shape than the model's");
  }
  return found->second;
}

std::vector<float> floats_of(const Array& array) {
  std::vector<float> values(array.bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

/// InputError: not the canary of this model.
Canary parse_canary(const std::string& content, const std::string& where, const Card& card) {
  const std::map<std::string, Array> arrays = read_npz(content, where);
  Canary canary;
  canary.image = find(arrays, "image", "|u1", {card.min_batch, card.input_height, card.input_width, 3}).bytes;
  for (const HeadInfo& head : card.heads) {
    const std::vector<std::int64_t> shape = {card.min_batch, head.num_classes, card.input_height, card.input_width};
    canary.logits.push_back(floats_of(find(arrays, output_name(head.name, "logits"), "<f4", shape)));
    const auto& logits = canary.logits.back();
    if (!std::all_of(logits.begin(), logits.end(), [](float value) { return std::isfinite(value); })) {
      throw InputError("the reference's logits are not finite");
    }
  }
  return canary;
}

Canary read_canary(const Bundle& bundle, const EngineRecord& record) {
  const auto known = bundle.manifest.canaries.find(record.source);
  const std::string name = known == bundle.manifest.canaries.end() ? "canary.npz" : known->second;
  check_file(bundle, name);  // not every opening compares all files
  const std::filesystem::path file = bundle.file(name);
  try {
    return parse_canary(read_file(file), file.string(), bundle.manifest.card);
  } catch (const InputError& error) {
    throw InputError(file.string() + ": not a canary; export the checkpoint again", "the canary of this model",
                     error.what());
  }
}

/// The last run's outputs of a head.
HeadOutputs outputs_of(const Card& card, std::size_t head, const Engine& engine) {
  HeadOutputs outputs;
  const std::vector<Tensor> tensors = output_tensors(card);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].head != head) continue;
    const void* values = engine.output(i);
    if (tensors[i].kind == Kind::mask) outputs.mask = static_cast<const std::uint8_t*>(values);
    if (tensors[i].kind == Kind::probability) outputs.probability = static_cast<const float*>(values);
    if (tensors[i].kind == Kind::logits) outputs.logits = static_cast<const float*>(values);
  }
  return outputs;
}

}  // namespace

void check_canary(const Bundle& bundle, const EngineRecord& record, Engine& engine) {
  const Card& card = bundle.manifest.card;
  const Canary canary = read_canary(bundle, record);
  std::copy(canary.image.begin(), canary.image.end(), engine.input(card.min_batch));
  engine.run(card.min_batch);
  Problem all;  // of all heads, in one line
  for (std::size_t i = 0; i < card.heads.size(); ++i) {
    const HeadInfo& head = card.heads[i];
    const HeadShape shape = {static_cast<std::size_t>(card.min_batch), head.num_classes,
                             static_cast<std::size_t>(card.input_height) * static_cast<std::size_t>(card.input_width),
                             head.threshold};
    Problem problem = check_answer(shape, canary.logits[i].data(), outputs_of(card, i, engine), record.precision);
    if (!problem.detail.empty() && !head.name.empty()) problem.detail = head.name + ": " + problem.detail;
    all.add(problem);
  }
  if (all.detail.empty()) return;
  throw CheckFailed(bundle.path.string() + ": the canary fails on " + record.name + ": " + all.detail +
                        "; build the engine again: " + rebuild_command(record, bundle.path, /*same_targets=*/true),
                    all.expected, all.got);
}

}  // namespace segdino::detail
