#include <iomanip>
#include <sstream>

#include "measure.hpp"

namespace segdino_bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kNameWidth = 24;
constexpr int kNumberWidth = 10;

void add_row(std::ostringstream& table, const std::string& name, const Json& latency) {
  table << std::left << std::setw(kNameWidth) << name << std::right << std::fixed << std::setprecision(2);
  for (const char* field : {"p50_ms", "p90_ms", "p95_ms", "p99_ms"}) {
    table << std::setw(kNumberWidth) << latency.at(field).get<double>();
  }
  table << '\n';
}

}  // namespace

std::string table_of(const Json& result) {
  std::ostringstream table;
  table << result.at("bundle").get<std::string>() << ", " << result.at("name").get<std::string>() << " in C++ on "
        << result.at("device").get<std::string>() << ", batch of " << result.at("batch") << ", " << result.at("rounds")
        << " rounds\n\n";
  table << std::left << std::setw(kNameWidth) << "ms per image" << std::right;
  for (const char* column : {"p50", "p90", "p95", "p99"}) table << std::setw(kNumberWidth) << column;
  table << '\n';
  add_row(table, "engine only", result.at("engine_only"));
  add_row(table, "with copies", result.at("with_copies"));
  const Json& file = result.at("file_to_mask");
  if (!file.is_null()) {
    add_row(table, "file to mask", file.at("total"));
    add_row(table, "  decode", file.at("decode"));
    add_row(table, "  resize", file.at("resize"));
    add_row(table, "  run", file.at("run"));
    add_row(table, "  resize back", file.at("resize_back"));
  }
  for (const Json& entry : result.at("throughput")) {
    const bool is_one = entry.at("callers") == 1;
    table << "\n"
          << entry.at("callers") << (is_one ? " caller: " : " callers: ") << std::setprecision(1)
          << entry.at("images_per_second").get<double>() << " images per second";
  }
  if (!result.at("throughput").empty()) table << '\n';
  const Json& start = result.at("start_up");
  if (!start.is_null()) {
    table << "\nnew process to first mask: " << std::setprecision(3) << start.at("total_s").get<double>() << " s ("
          << start.at("imports_s").get<double>() << " to load it, " << start.at("open_s").get<double>() << " to open, "
          << start.at("first_mask_s").get<double>() << " to run); at most " << std::setprecision(0)
          << result.at("peak_host_mib").get<double>() << " MiB\n";
  }
  return table.str();
}

}  // namespace segdino_bench
