#include "start_up.hpp"

#include <sstream>

#include "clock.hpp"
#include "data.hpp"
#include "latency.hpp"
#include "platform.hpp"

namespace segdino_bench {
namespace {

constexpr int kRuns = 3;  // before memory is read

std::vector<double> each(const std::vector<Start>& starts, double (*value)(const Start&)) {
  std::vector<double> values;
  for (const Start& start : starts) values.push_back(value(start));
  return values;
}

}  // namespace

Start start_here(const BenchOptions& options, double main_s) {
  Start start;
  start.imports_s = options.started_s > 0 ? main_s - options.started_s : 0;
  segdino::Segmenter segmenter = segdino::Segmenter::open(options.bundle, options.opening);
  const double opened_s = now_s();
  start.open_s = opened_s - main_s;
  const std::vector<Batch> batches = fill_batches({}, segmenter.info(), segmenter.info().min_batch);
  const std::vector<segdino::ImageView> views = batches.front().views(segmenter.info());
  segmenter.segment(views, segdino::OutputSize::model);
  start.first_mask_s = now_s() - opened_s;
  for (int run = 1; run < kRuns; ++run) segmenter.segment(views, segdino::OutputSize::model);
  start.peak_host_mib = peak_memory_mib();
  return start;
}

std::vector<Start> start_anew(const std::filesystem::path& program, const BenchOptions& options,
                              const std::string& engine) {
  std::vector<std::string> command = {program.string(), options.bundle.string(), "--start", "--engine", engine};
  if (options.opening.threads > 0)
    command.insert(command.end(), {"--threads", std::to_string(options.opening.threads)});
  if (!options.opening.cache.empty()) command.insert(command.end(), {"--cache", options.opening.cache.string()});
  std::vector<Start> starts;
  for (int number = 0; number < options.starts; ++number) {
    std::ostringstream started_s;
    started_s.precision(17);
    started_s << now_s();
    command.insert(command.end(), {"--started", started_s.str()});
    const nlohmann::json told = nlohmann::json::parse(output_of(command));
    command.resize(command.size() - 2);
    starts.push_back({told.at("imports_s"), told.at("open_s"), told.at("first_mask_s"), told.at("peak_host_mib")});
  }
  return starts;
}

nlohmann::ordered_json medians_of(const std::vector<Start>& starts) {
  const std::vector<double> totals = each(starts, [](const Start& start) { return start.total_s(); });
  return {{"imports_s", median(each(starts, [](const Start& start) { return start.imports_s; }))},
          {"open_s", median(each(starts, [](const Start& start) { return start.open_s; }))},
          {"first_mask_s", median(each(starts, [](const Start& start) { return start.first_mask_s; }))},
          {"total_s", median(totals)},
          {"samples_s", totals}};
}

void to_json(nlohmann::ordered_json& json, const Start& start) {
  json = {{"imports_s", start.imports_s},
          {"open_s", start.open_s},
          {"first_mask_s", start.first_mask_s},
          {"peak_host_mib", start.peak_host_mib},
          {"device_mib", nullptr}};
}

}  // namespace segdino_bench
