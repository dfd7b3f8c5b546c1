#include "options.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

namespace segdino_bench {

const char* const kUsage =
    R"(segdino_bench BUNDLE [--data FILE_OR_FOLDER...] [OPTIONS]

Measures one engine of a bundle in C++: the engine alone, with copies, and from image files to masks; throughput,
start-up and memory. Prints a table, or JSON with the names of segdino-deploy bench.

  --data FILE_OR_FOLDER...    images; without any, nothing is measured from file to mask
  --engine NAME               default: the first one of the bundle that runs here
  --backend, --precision      narrow that choice
  --rounds N                  default 30
  --warmup N                  rounds before them that do not count; default 3
  --threads N                 of one run on the CPU; default: the backend's own choice
  --batch N                   images of one run; default: the model's smallest batch
  --callers N,N               throughput: threads that share the engine; default 1,2
  --throughput-seconds S      of each throughput; default 2, 0: none
  --starts N                  new processes that open the engine; default 3, 0: none
  --cache FOLDER              where OpenVINO may keep what it compiled
  --json                      JSON on stdout in place of the table
  -o FILE                     JSON into a file, beside the table
  --version

  --serve                     is told by another program what to measure: segdino-deploy bench --cpp; see serve.hpp
  --start [--started S]       opens the engine, runs it and tells the seconds since S of the monotonic clock as JSON

Exit codes: 0 done, 1 a check failed, 2 wrong usage or input, 3 a needed component is missing.
)";

namespace {

class Words {
 public:
  explicit Words(const std::vector<std::string>& words) : words_(words) {}

  bool is_empty() const { return next_ == words_.size(); }
  bool is_option() const { return words_[next_].size() > 1 && words_[next_][0] == '-'; }
  std::string take() { return words_[next_++]; }
  std::string value_of(const std::string& option) {
    if (is_empty()) throw UsageError(option + ": needs a value");
    return take();
  }

 private:
  const std::vector<std::string>& words_;
  std::size_t next_ = 0;
};

double number(const std::string& option, const std::string& text, double least, double most) {
  std::size_t end = 0;
  double value = 0;
  try {
    value = std::stod(text, &end);
  } catch (const std::logic_error&) {
    end = 0;
  }
  if (text.empty() || end != text.size() || !(value >= least) || !(value <= most)) {
    throw UsageError(option + ": '" + text + "' is no number from " + std::to_string(static_cast<int>(least)) + " on");
  }
  return value;
}

int integer(const std::string& option, const std::string& text, int least) {
  const double value = number(option, text, least, std::numeric_limits<int>::max());
  if (value != std::floor(value)) throw UsageError(option + ": '" + text + "' is no whole number");
  return static_cast<int>(value);
}

std::vector<int> integers(const std::string& option, const std::string& text) {
  std::vector<int> found;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    found.push_back(integer(option, text.substr(begin, comma - begin), 1));
    begin = comma + 1;
  }
  return found;
}

}  // namespace

BenchOptions parse_options(const std::vector<std::string>& command_line) {
  BenchOptions options;
  Words words(command_line);
  std::string option;
  const auto value = [&] { return words.value_of(option); };
  const auto whole = [&](int least) { return integer(option, value(), least); };
  const std::map<std::string, std::function<void()>> known = {
      {"--engine", [&] { options.opening.engine = value(); }},
      {"--backend", [&] { options.opening.backend = value(); }},
      {"--precision", [&] { options.opening.precision = value(); }},
      {"--threads", [&] { options.opening.threads = whole(1); }},
      {"--cache", [&] { options.opening.cache = value(); }},
      {"--rounds", [&] { options.rounds = whole(1); }},
      {"--warmup", [&] { options.warmup = whole(0); }},
      {"--batch", [&] { options.batch = whole(1); }},
      {"--callers", [&] { options.callers = integers(option, value()); }},
      {"--throughput-seconds", [&] { options.throughput_seconds = number(option, value(), 0, 1e6); }},
      {"--starts", [&] { options.starts = whole(0); }},
      {"--started", [&] { options.started_s = number(option, value(), 0, 1e12); }},
      {"-o", [&] { options.output = value(); }},
      {"--json", [&] { options.as_json = true; }},
      {"--serve", [&] { options.action = Action::serve; }},
      {"--start", [&] { options.action = Action::start; }},
      {"--version", [&] { options.action = Action::tell_version; }},
      {"--help", [&] { options.action = Action::tell_usage; }},
      {"--data",
       [&] {
         options.data.emplace_back(value());
         while (!words.is_empty() && !words.is_option()) options.data.emplace_back(words.take());
       }},
  };
  while (!words.is_empty()) {
    const bool is_option = words.is_option();
    option = words.take();
    if (is_option) {
      const auto found = known.find(option);
      if (found == known.end()) throw UsageError(option + ": no such option; see --help");
      found->second();
    } else if (options.bundle.empty()) {
      options.bundle = option;
    } else {
      throw UsageError("'" + option + "': only one bundle is measured, " + options.bundle.string() +
                       "; images are named with --data");
    }
  }
  const bool opens = options.action != Action::tell_version && options.action != Action::tell_usage;
  if (opens && options.bundle.empty()) throw UsageError("no BUNDLE was named; see --help");
  return options;
}

}  // namespace segdino_bench
