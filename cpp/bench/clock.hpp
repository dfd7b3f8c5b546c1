/// The clock of all measurements here.
#pragma once

#include <chrono>

namespace segdino_bench {

/// Seconds of the monotonic clock. On Linux every process of a machine reads the same one, Python's `time.monotonic`
/// included: the start of a process can be told to it by the one that starts it.
inline double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Milliseconds since it was made.
class Stopwatch {
 public:
  double ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began_).count();
  }

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace segdino_bench
