#include "latency.hpp"

#include <algorithm>
#include <cmath>

namespace segdino_bench {

double percentile(const std::vector<double>& sorted, double percent) {
  const double place = static_cast<double>(sorted.size() - 1) * (percent / 100);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double share = place - std::floor(place);
  const double step = sorted[above] - sorted[below];
  // From the nearer end, as NumPy does it: the result of a share of 1 is the upper value, without rounding.
  return share < 0.5 ? sorted[below] + step * share : sorted[above] - step * (1 - share);
}

Latency summarise(const std::vector<double>& samples_ms, int images_per_run) {
  Latency latency;
  latency.samples_ms.reserve(samples_ms.size());
  for (const double sample : samples_ms) latency.samples_ms.push_back(sample / images_per_run);
  std::vector<double> sorted = latency.samples_ms;
  std::sort(sorted.begin(), sorted.end());
  latency.p50_ms = percentile(sorted, 50);
  latency.p90_ms = percentile(sorted, 90);
  latency.p95_ms = percentile(sorted, 95);
  latency.p99_ms = percentile(sorted, 99);
  return latency;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return percentile(values, 50);
}

void to_json(nlohmann::ordered_json& json, const Latency& latency) {
  json = {{"p50_ms", latency.p50_ms},
          {"p90_ms", latency.p90_ms},
          {"p95_ms", latency.p95_ms},
          {"p99_ms", latency.p99_ms},
          {"samples_ms", latency.samples_ms}};
}

}  // namespace segdino_bench
