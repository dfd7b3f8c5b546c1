/// `manifest.json` as far as running an engine needs it. The schema is segdino_deploy/manifest.py's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "segdino/segdino.hpp"

namespace segdino::detail {

constexpr int kSchemaVersion = 2;

enum class ResizeFilter { bicubic, bilinear };

/// What feeds the model and reads its outputs.
struct Card {
  int input_height = 0;  // pixels
  int input_width = 0;
  int min_batch = 1;
  int max_batch = 1;
  ResizeFilter resize_filter = ResizeFilter::bicubic;
  std::vector<HeadInfo> heads;

  bool is_fixed_batch() const { return min_batch == max_batch; }
};

enum class ElementType { u8, f32 };
enum class Kind { mask, probability, logits };

/// One output tensor of the model, of one image.
struct Tensor {
  std::string name;      // such as "mask" or "polyp.logits"
  std::size_t head = 0;  // index into Card::heads
  Kind kind = Kind::mask;
  ElementType type = ElementType::u8;
  int channels = 1;  // masks have no axis for it
  int height = 0;
  int width = 0;

  std::size_t values() const {
    return static_cast<std::size_t>(channels) * static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  }
  std::size_t bytes() const { return values() * (type == ElementType::f32 ? sizeof(float) : 1); }
};

/// Name of the input tensor, uint8 [N, H, W, 3].
constexpr const char* kInput = "image";

/// "polyp" and "mask": "polyp.mask"; of the head without a name: "mask".
std::string output_name(const std::string& head, std::string_view kind);

/// In the card's order, which is that of the model's outputs.
std::vector<Tensor> output_tensors(const Card& card);

/// One built engine.
struct EngineRecord {
  std::string name;
  std::string file;  // relative to the bundle, as all files
  std::vector<std::string> companions;
  std::string backend;
  std::string precision;
  std::string source;               // the ONNX file that it was built from
  std::string inference_precision;  // "f32", "bf16" or "f16"; empty: f32
  std::map<std::string, std::string> built_with;
  // Spellings of parts of the graph that the build chose instead of those in `source`: "chosen" of every record under
  // "lowering" that is not "as exported".
  std::vector<std::string> lowerings;
  // Of TensorRT's receipt, under "options": what its file depends on.
  bool version_compatible = false;
  bool strip_weights = false;
  std::string hardware_compatible;  // empty, "ampere-plus" or "same"
  std::vector<std::string> compute_capabilities;
  // All options as words of the command line, to build it again: {"--workspace", "512"}, {"--refittable", ""}.
  std::vector<std::pair<std::string, std::string>> options;
};

struct FileRecord {
  std::string name;
  std::string sha256;  // 64 hexadecimal digits
  std::uint64_t size_bytes = 0;
};

struct Manifest {
  std::string tool_version;
  Card card;
  std::map<std::string, std::string> canaries;  // ONNX file -> canary file
  std::vector<EngineRecord> engines;            // in the file's order
  std::vector<FileRecord> files;
};

/// Reads the text of a manifest. `where` is the bundle, for messages.
/// InputError: not JSON, not a manifest, an older or newer schema, names outside the bundle, values out of range.
Manifest parse_manifest(std::string_view text, const std::string& where);

}  // namespace segdino::detail
