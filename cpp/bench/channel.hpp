/// Lines of JSON with bytes behind them, in both directions; see serve.hpp.
#pragma once

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace segdino_bench {

/// A line and the bytes that it announced.
struct Message {
  nlohmann::ordered_json line;
  std::vector<std::uint8_t> payload;
};

class Channel {
 public:
  /// From stdin to stdout, which is nobody else's from now on: libraries may print.
  Channel();
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// False: there are no more. Throws std::runtime_error for a line that is none of ours: what follows cannot be told
  /// from bytes, so that nothing more is to be read.
  bool read(Message& message);

  /// The line's "bytes" is the payload's size.
  void write(const nlohmann::ordered_json& line, const std::vector<std::uint8_t>& payload = {});

 private:
  std::FILE* out_;
};

}  // namespace segdino_bench
