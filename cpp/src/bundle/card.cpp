#include "bundle/card.hpp"

#include <algorithm>
#include <climits>
#include <set>

namespace segdino::detail {
namespace {

constexpr std::int64_t kPatchSize = 16;    // pixels; input sizes are multiples of it
constexpr std::int64_t kMaxSide = 65520;   // pixels; the largest multiple that an ImageView can have, too
constexpr std::int64_t kMaxClasses = 256;  // a mask is uint8

/// Programs name files after heads: what segdino_deploy/manifest.py takes for a name, and nothing else.
bool is_head_name(const std::string& name) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr std::string_view kOthers = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return name.empty() || (kLetters.find(name.front()) != std::string_view::npos &&
                          name.find_first_not_of(kOthers) == std::string::npos);
}

HeadInfo read_head(const Node& node) {
  HeadInfo head;
  if (const auto name = node.find("name")) {
    head.name = name->name();
    name->require(is_head_name(head.name), "a letter, then letters, digits, _ or -");
  }
  head.family = node.at("family").name();
  head.num_classes = static_cast<int>(node.at("num_classes").whole(1, kMaxClasses));
  const Node classes = node.at("class_names");
  head.class_names = classes.texts();
  classes.require(head.class_names.size() == static_cast<std::size_t>(head.num_classes),
                  std::to_string(head.num_classes) + " names");
  const Node outputs = node.at("outputs");
  const std::vector<std::string> kinds = {"mask", "probability", "logits"};
  for (const Node& output : outputs.elements()) head.outputs.push_back(output.one_of(kinds));
  const std::set<std::string> different(head.outputs.begin(), head.outputs.end());
  outputs.require(!different.empty() && different.size() == head.outputs.size(), "at least one output, each once");
  const Node threshold = node.at("threshold");
  head.threshold = threshold.number();
  threshold.require(head.threshold > 0 && head.threshold < 1, "a number between 0 and 1");
  return head;
}

void require_different_names(const Node& node, const std::vector<HeadInfo>& heads) {
  std::set<std::string> names;
  for (const HeadInfo& head : heads) names.insert(head.name);
  node.require(!heads.empty() && names.size() == heads.size() && (heads.size() == 1 || names.count("") == 0),
               "heads with different names");
}

/// Sizes are computed without further care everywhere else, so they must fit.
void require_addressable(const Node& node, const Card& card) {
  std::int64_t bytes_per_pixel = 3;  // of the input, or of the largest output
  for (const HeadInfo& head : card.heads) {
    bytes_per_pixel = std::max<std::int64_t>(bytes_per_pixel, std::int64_t{sizeof(float)} * head.num_classes);
  }
  const std::int64_t bytes_per_image = std::int64_t{card.input_height} * card.input_width * bytes_per_pixel;
  node.require(card.max_batch <= std::int64_t{PTRDIFF_MAX} / bytes_per_image, "a batch that fits into memory");
}

int read_side(const Node& node) {
  const std::int64_t side = node.whole(kPatchSize, kMaxSide);
  node.require(side % kPatchSize == 0, "a multiple of " + std::to_string(kPatchSize));
  return static_cast<int>(side);
}

int read_batch(const Node& node, const std::string& key, int smallest) {
  const auto found = node.find(key);
  if (!found) node.require(smallest == 1, "'" + key + "' of " + std::to_string(smallest) + " or more");
  return found ? static_cast<int>(found->whole(smallest, INT_MAX)) : 1;
}

}  // namespace

Card read_card(const Node& node) {
  Card card;
  const Node size = node.at("input_size");
  const std::vector<Node> sides = size.elements();
  size.require(sides.size() == 2, "height and width");
  card.input_height = read_side(sides[0]);
  card.input_width = read_side(sides[1]);
  const Node batch = node.at("batch");
  card.min_batch = read_batch(batch, "min", 1);
  card.max_batch = read_batch(batch, "max", card.min_batch);
  const std::string filter = node.at("resize_filter").one_of({"bicubic", "bilinear"});
  card.resize_filter = filter == "bicubic" ? ResizeFilter::bicubic : ResizeFilter::bilinear;
  const Node heads = node.at("heads");
  for (const Node& head : heads.elements()) card.heads.push_back(read_head(head));
  require_different_names(heads, card.heads);
  require_addressable(batch, card);
  return card;
}

std::string output_name(const std::string& head, std::string_view kind) {
  return head.empty() ? std::string(kind) : head + "." + std::string(kind);
}

std::vector<Tensor> output_tensors(const Card& card) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < card.heads.size(); ++i) {
    const HeadInfo& head = card.heads[i];
    for (const std::string& output : head.outputs) {
      Tensor tensor;
      tensor.name = output_name(head.name, output);
      tensor.head = i;
      tensor.kind = output == "mask" ? Kind::mask : output == "logits" ? Kind::logits : Kind::probability;
      tensor.type = tensor.kind == Kind::mask ? ElementType::u8 : ElementType::f32;
      tensor.channels = tensor.kind == Kind::mask ? 1 : head.num_classes;
      tensor.height = card.input_height;
      tensor.width = card.input_width;
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

}  // namespace segdino::detail
