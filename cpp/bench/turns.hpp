/// One contestant's turn in a round, the protocol of segdino_deploy/benchmarks/latency/rounds.py.
///
/// A turn begins with a run that does not count, for whoever ran before leaves caches full of other data. Then comes
/// one run in each of three ways: the engine alone, with copies (from arrays in the caller's memory to masks in it),
/// and from an image file to its masks at the file's size. Another way is the first one in each round.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "segdino/segdino.hpp"

namespace segdino_bench {

/// Images of the model's size, RGB.
struct Batch {
  std::vector<std::uint8_t> pixels;  // [N][H][W][3]

  /// Of each image; valid as long as the pixels.
  std::vector<segdino::ImageView> views(const segdino::Info& info) const;
};

/// All that the model gives, at its size: what a runner of the Python package gives back, too.
segdino::Request everything_of(const segdino::Info& info);

/// Bytes of one image of the model's size.
std::size_t bytes_of_image(const segdino::Info& info);

/// Milliseconds of one image from its file to its masks.
struct FileTimes {
  double decode_ms = 0;       // file to RGB
  double resize_ms = 0;       // to the model's size
  double run_ms = 0;          // the engine, with copies
  double resize_back_ms = 0;  // its outputs to masks of the file's size, and what the call takes beside

  double total_ms() const { return decode_ms + resize_ms + run_ms + resize_back_ms; }
};

/// What one turn took, in milliseconds; not divided by the batch.
struct TurnTimes {
  double engine_only_ms = 0;
  double with_copies_ms = 0;
  std::optional<FileTimes> file;  // none: no files were named
};

/// Reads a file, segments it and tells how long each part took. Throws what reading and running throw.
std::pair<segdino::Result, FileTimes> segment_file(segdino::Segmenter& segmenter, const std::filesystem::path& file);

/// The turns of one segmenter, which must outlive this.
class Turns {
 public:
  /// `batches`: which the rounds take turns with, at least one; the engine alone always has the first one, as its time
  /// does not depend on what is in the image. `files`: in turns; may be empty.
  Turns(segdino::Segmenter& segmenter, std::vector<Batch> batches, std::vector<std::filesystem::path> files);

  /// `round`: its number.
  TurnTimes take(std::size_t round);

  /// The first batch once more, untimed.
  void run_again();

 private:
  segdino::Segmenter& segmenter_;
  std::vector<Batch> batches_;
  std::vector<std::filesystem::path> files_;
};

void to_json(nlohmann::ordered_json& json, const FileTimes& times);
void to_json(nlohmann::ordered_json& json, const TurnTimes& times);

}  // namespace segdino_bench
