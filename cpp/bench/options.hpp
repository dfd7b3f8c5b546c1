/// What the command line asks for.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "segdino/segdino.hpp"

namespace segdino_bench {

/// A command line that cannot be understood; one line.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Action { measure, serve, start, tell_version, tell_usage };

struct BenchOptions {
  Action action = Action::measure;
  std::filesystem::path bundle;
  segdino::Options opening;                 // engine, backend, precision, threads, cache
  std::vector<std::filesystem::path> data;  // files, and folders of images
  int rounds = 30;
  int warmup = 3;                     // rounds before them that do not count
  int batch = 0;                      // 0: the model's smallest
  std::vector<int> callers = {1, 2};  // threads that share the engine
  double throughput_seconds = 2;      // 0: no throughput
  int starts = 3;                     // new processes that open the engine; 0: none
  double started_s = 0;               // of the monotonic clock: when this process was started; 0: not told
  std::filesystem::path output;       // JSON file; empty: none
  bool as_json = false;               // on stdout, in place of the table
};

extern const char* const kUsage;

/// UsageError names the word that is wrong.
BenchOptions parse_options(const std::vector<std::string>& words);

}  // namespace segdino_bench
