/// From the start of a new process to its first mask, as segdino_deploy/benchmarks/process.py measures it.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "options.hpp"

namespace segdino_bench {

/// What one process tells of itself. Seconds, one after the other, from its start on.
struct Start {
  double imports_s = 0;  // the system loads this program and its libraries
  double open_s = 0;     // hashes of the bundle, reading the engine, compilation
  double first_mask_s = 0;
  double peak_host_mib = 0;

  double total_s() const { return imports_s + open_s + first_mask_s; }
};

/// Opens the engine and runs it three times. `main_s`: when `main` began; the process must have done nothing before.
Start start_here(const BenchOptions& options, double main_s);

/// The same in so many new processes of this program, `program`, one after the other. `engine`: its name.
std::vector<Start> start_anew(const std::filesystem::path& program, const BenchOptions& options,
                              const std::string& engine);

/// Medians, as `StartUp` of segdino_deploy/benchmarks/result.py.
nlohmann::ordered_json medians_of(const std::vector<Start>& starts);

void to_json(nlohmann::ordered_json& json, const Start& start);

}  // namespace segdino_bench
