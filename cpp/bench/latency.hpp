/// Percentiles of latencies, as segdino_deploy/benchmarks/latency/summary.py has them.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

namespace segdino_bench {

/// Milliseconds; every sample is kept.
struct Latency {
  double p50_ms = 0;
  double p90_ms = 0;
  double p95_ms = 0;
  double p99_ms = 0;
  std::vector<double> samples_ms;
};

/// `sorted`: from the smallest value on, at least one. `percent`: 0 to 100. Between two values linearly, as
/// numpy.percentile's default: type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996.
double percentile(const std::vector<double>& sorted, double percent);

/// Percentiles per image of the milliseconds of runs of `images_per_run` images each. At least one sample.
Latency summarise(const std::vector<double>& samples_ms, int images_per_run = 1);

double median(std::vector<double> values);

void to_json(nlohmann::ordered_json& json, const Latency& latency);

}  // namespace segdino_bench
