/// Images per second of callers in several threads that share one engine, the closed loop of
/// segdino_deploy/benchmarks/latency/throughput.py: each sends its next batch when it has its masks.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "latency.hpp"
#include "segdino/segdino.hpp"
#include "turns.hpp"

namespace segdino_bench {

/// Seconds since the callers began together: when a call began, and when it ended.
struct Call {
  double began = 0;
  double ended = 0;
};

/// Calls of each caller, in order.
using Calls = std::vector<std::vector<Call>>;

/// Calls in so many threads for `seconds`, and until every caller has had two calls, whatever they take. Caller k's
/// calls have the batches k, k + 1 and so on; one call of each before they begin does not count. Throws what a caller
/// throws.
Calls run_callers(segdino::Segmenter& segmenter, const std::vector<Batch>& batches, int callers, double seconds);

struct Throughput {
  int batch = 0;
  int callers = 0;
  double images_per_second = 0;
  Latency call;  // of one call of one batch; not divided by the batch
};

/// Counts the calls that ended inside the window: what was under way at its end is no result of it.
Throughput summarise(const Calls& calls, int batch, double seconds);

void to_json(nlohmann::ordered_json& json, const Call& call);
void to_json(nlohmann::ordered_json& json, const Throughput& throughput);

}  // namespace segdino_bench
