/// Everything that is measured of one engine, and how it is shown.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "options.hpp"

namespace segdino_bench {

/// Measures. The names of the result's fields are those of segdino_deploy/benchmarks/result.py: `engine_only`,
/// `with_copies`, `file_to_mask`, `throughput`, `start_up`, `peak_host_mib`, `environment` and so on. `program`: this
/// one.
nlohmann::ordered_json measure(const BenchOptions& options, const std::filesystem::path& program);

/// The result for people.
std::string table_of(const nlohmann::ordered_json& result);

}  // namespace segdino_bench
