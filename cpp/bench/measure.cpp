#include "measure.hpp"

#include <thread>

#include "data.hpp"
#include "platform.hpp"
#include "start_up.hpp"
#include "throughput.hpp"
#include "turns.hpp"

namespace segdino_bench {
namespace {

using Json = nlohmann::ordered_json;

int batch_of(const BenchOptions& options, const segdino::Info& info) {
  const int batch = options.batch > 0 ? options.batch : info.min_batch;
  if (batch >= info.min_batch && batch <= info.max_batch) return batch;
  const std::string takes = info.min_batch == info.max_batch
                                ? std::to_string(info.min_batch)
                                : std::to_string(info.min_batch) + " to " + std::to_string(info.max_batch);
  throw segdino::InputError("--batch: " + std::to_string(batch) + ": this model takes " + takes, takes,
                            std::to_string(batch));
}

/// The three ways, in rounds.
Json latencies(segdino::Segmenter& segmenter, const std::vector<Batch>& batches,
               const std::vector<std::filesystem::path>& files, const BenchOptions& options, int batch) {
  Turns turns(segmenter, batches, files);
  for (int round = 0; round < options.warmup; ++round) turns.take(0);
  std::vector<TurnTimes> taken;
  for (int round = 0; round < options.rounds; ++round) taken.push_back(turns.take(static_cast<std::size_t>(round)));
  const auto latency = [&](auto value, int images_per_run) {
    std::vector<double> samples;
    for (const TurnTimes& times : taken) samples.push_back(value(times));
    return summarise(samples, images_per_run);
  };
  Json found;
  found["engine_only"] = latency([](const TurnTimes& times) { return times.engine_only_ms; }, batch);
  found["with_copies"] = latency([](const TurnTimes& times) { return times.with_copies_ms; }, batch);
  found["file_to_mask"] = nullptr;
  if (!files.empty()) {
    found["file_to_mask"] = {
        {"decode", latency([](const TurnTimes& times) { return times.file->decode_ms; }, 1)},
        {"resize", latency([](const TurnTimes& times) { return times.file->resize_ms; }, 1)},
        {"run", latency([](const TurnTimes& times) { return times.file->run_ms; }, 1)},
        {"resize_back", latency([](const TurnTimes& times) { return times.file->resize_back_ms; }, 1)},
        {"total", latency([](const TurnTimes& times) { return times.file->total_ms(); }, 1)}};
  }
  return found;
}

Json throughputs(segdino::Segmenter& segmenter, const std::vector<Batch>& batches, const BenchOptions& options,
                 int batch) {
  Json found = Json::array();
  if (options.throughput_seconds <= 0) return found;
  for (const int callers : options.callers) {
    const Calls calls = run_callers(segmenter, batches, callers, options.throughput_seconds);
    found.push_back(summarise(calls, batch, options.throughput_seconds));
  }
  return found;
}

Json environment_of(const BenchOptions& options) {
  std::string backends;
  for (const std::string& backend : segdino::backends()) backends += (backends.empty() ? "" : ", ") + backend;
  const int own = static_cast<int>(std::thread::hardware_concurrency());
  return {{"machine", machine_name()},
          {"system", system_name()},
          {"threads", options.opening.threads > 0 ? options.opening.threads : own},
          {"versions", {{"segdino (C++)", segdino::version()}, {"backends", backends}}}};
}

}  // namespace

Json measure(const BenchOptions& options, const std::filesystem::path& program) {
  const std::vector<std::filesystem::path> files = list_images(options.data);
  segdino::Segmenter segmenter = segdino::Segmenter::open(options.bundle, options.opening);
  const segdino::Info info = segmenter.info();
  const int batch = batch_of(options, info);
  const std::vector<Batch> batches = fill_batches(files, info, batch);
  Json result = {{"bundle", std::filesystem::absolute(options.bundle).lexically_normal().filename().string()},
                 {"name", info.engine},
                 {"backend", info.backend},
                 {"precision", info.precision},
                 {"device", info.device},
                 {"input_size", {info.input_height, info.input_width}},
                 {"environment", environment_of(options)},
                 {"rounds", options.rounds},
                 {"warmup", options.warmup},
                 {"batch", batch},
                 {"images", files.size()}};
  result.update(latencies(segmenter, batches, files, options, batch));
  result["throughput"] = throughputs(segmenter, batches, options, batch);
  result["start_up"] = nullptr;
  result["peak_host_mib"] = nullptr;
  if (options.starts > 0) {
    const std::vector<Start> starts = start_anew(program, options, info.engine);
    std::vector<double> peaks;
    for (const Start& start : starts) peaks.push_back(start.peak_host_mib);
    result["start_up"] = medians_of(starts);
    result["peak_host_mib"] = median(peaks);
  }
  return result;
}

}  // namespace segdino_bench
