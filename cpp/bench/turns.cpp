#include "turns.hpp"

#include <algorithm>
#include <utility>

#include "clock.hpp"
#include "image_file.hpp"

namespace segdino_bench {

segdino::Request everything_of(const segdino::Info& info) {
  const auto every_head_has = [&](const char* output) {
    return std::all_of(info.heads.begin(), info.heads.end(), [&](const segdino::HeadInfo& head) {
      return std::find(head.outputs.begin(), head.outputs.end(), output) != head.outputs.end();
    });
  };
  segdino::Request request;
  request.size = segdino::OutputSize::model;
  request.probability = every_head_has("probability");
  request.logits = every_head_has("logits");
  return request;
}

std::size_t bytes_of_image(const segdino::Info& info) {
  return static_cast<std::size_t>(info.input_height) * static_cast<std::size_t>(info.input_width) * 3;
}

std::vector<segdino::ImageView> Batch::views(const segdino::Info& info) const {
  std::vector<segdino::ImageView> found;
  for (std::size_t at = 0; at < pixels.size(); at += bytes_of_image(info)) {
    found.push_back(segdino::ImageView::rgb(pixels.data() + at, info.input_width, info.input_height));
  }
  return found;
}

std::pair<segdino::Result, FileTimes> segment_file(segdino::Segmenter& segmenter, const std::filesystem::path& file) {
  FileTimes times;
  const Stopwatch decoding;
  const example::RgbImage image = example::read_image(file);
  times.decode_ms = decoding.ms();
  const Stopwatch call;
  segdino::Result result = segmenter.analyse(segdino::ImageView::rgb(image.pixels.data(), image.width, image.height));
  const double call_ms = call.ms();
  times.resize_ms = result.timings.prepare_ms;
  times.run_ms = result.timings.run_ms;
  times.resize_back_ms = std::max(0.0, call_ms - times.resize_ms - times.run_ms);
  return {std::move(result), times};
}

Turns::Turns(segdino::Segmenter& segmenter, std::vector<Batch> batches, std::vector<std::filesystem::path> files)
    : segmenter_(segmenter), batches_(std::move(batches)), files_(std::move(files)) {}

void Turns::run_again() { segmenter_.segment(batches_.front().views(segmenter_.info()), segdino::OutputSize::model); }

TurnTimes Turns::take(std::size_t round) {
  TurnTimes times;
  const segdino::Info& info = segmenter_.info();
  const segdino::Request request = everything_of(info);
  const auto engine_only = [&] {
    times.engine_only_ms = segmenter_.analyse(batches_.front().views(info), request).front().timings.engine_ms;
  };
  const auto with_copies = [&] {
    const std::vector<segdino::ImageView> views = batches_[round % batches_.size()].views(info);
    const Stopwatch watch;
    const std::vector<segdino::Result> results = segmenter_.analyse(views, request);
    times.with_copies_ms = watch.ms();
  };
  const auto file_to_mask = [&] { times.file = segment_file(segmenter_, files_[round % files_.size()]).second; };
  run_again();
  const std::size_t ways = files_.empty() ? 2 : 3;
  for (std::size_t step = 0; step < ways; ++step) {
    const std::size_t way = (round + step) % ways;
    if (way == 0) engine_only();
    if (way == 1) with_copies();
    if (way == 2) file_to_mask();
  }
  return times;
}

void to_json(nlohmann::ordered_json& json, const FileTimes& times) {
  json = {{"decode_ms", times.decode_ms},
          {"resize_ms", times.resize_ms},
          {"run_ms", times.run_ms},
          {"resize_back_ms", times.resize_back_ms}};
}

void to_json(nlohmann::ordered_json& json, const TurnTimes& times) {
  json = {{"engine_only_ms", times.engine_only_ms}, {"with_copies_ms", times.with_copies_ms}, {"file", nullptr}};
  if (times.file) json["file"] = *times.file;
}

}  // namespace segdino_bench
