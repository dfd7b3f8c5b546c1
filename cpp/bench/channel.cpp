#include "channel.hpp"

#include <iostream>
#include <stdexcept>

#include "platform.hpp"

namespace segdino_bench {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{4} << 30;

}  // namespace

Channel::Channel() : out_(take_stdout()) { std::ios::sync_with_stdio(false); }

Channel::~Channel() { std::fclose(out_); }

bool Channel::read(Message& message) {
  std::string text;
  if (!std::getline(std::cin, text)) return false;
  message.line = nlohmann::ordered_json::parse(text, nullptr, false);
  std::uint64_t bytes = 0;
  if (message.line.is_object() && message.line.contains("bytes")) {
    const nlohmann::ordered_json& announced = message.line["bytes"];
    bytes = announced.is_number_unsigned() ? announced.get<std::uint64_t>() : kMostBytes + 1;
  }
  if (!message.line.is_object() || bytes > kMostBytes) {
    throw std::runtime_error("not a line of this protocol: " + text.substr(0, 80));
  }
  message.payload.resize(bytes);
  return !std::cin.read(reinterpret_cast<char*>(message.payload.data()), static_cast<std::streamsize>(bytes)).fail();
}

void Channel::write(const nlohmann::ordered_json& line, const std::vector<std::uint8_t>& payload) {
  nlohmann::ordered_json announced = line;
  if (!payload.empty()) announced["bytes"] = payload.size();
  // Names of files need not be UTF-8, which JSON is.
  const std::string text = announced.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), out_);
  if (!payload.empty()) std::fwrite(payload.data(), 1, payload.size(), out_);
  std::fflush(out_);
}

}  // namespace segdino_bench
