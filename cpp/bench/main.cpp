/// Measures an engine of a bundle; `segdino_bench --help`.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "clock.hpp"
#include "failures.hpp"
#include "measure.hpp"
#include "options.hpp"
#include "platform.hpp"
#include "serve.hpp"
#include "start_up.hpp"

namespace segdino_bench {
namespace {

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int run(const std::vector<std::string>& words, const char* called_as, double main_s) {
  const BenchOptions options = parse_options(words);
  switch (options.action) {
    case Action::tell_usage:
      print(kUsage);
      return 0;
    case Action::tell_version:
      print(greeting().dump() + "\n");
      return 0;
    case Action::serve:
      return serve(options);
    case Action::start:
      print("\n" + nlohmann::ordered_json(start_here(options, main_s)).dump() + "\n");  // a line of its own
      return 0;
    case Action::measure:
      break;
  }
  const nlohmann::ordered_json result = measure(options, own_path(called_as));
  // Names of files need not be UTF-8, which JSON is.
  const std::string json = result.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  print(options.as_json ? json : table_of(result));
  if (!options.output.empty()) write_atomically(options.output, json);
  return 0;
}

}  // namespace
}  // namespace segdino_bench

int main(int count, char** words) {
  const double main_s = segdino_bench::now_s();
  try {
    return segdino_bench::run({words + 1, words + count}, words[0], main_s);
  } catch (const std::exception& error) {
    const segdino_bench::Failure failure = segdino_bench::failure_of(error);
    std::fprintf(stderr, "error: %s\n", failure.message.c_str());
    return failure.exit_code;
  }
}
