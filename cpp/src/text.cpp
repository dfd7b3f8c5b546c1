#include "text.hpp"

#include <algorithm>
#include <string_view>

namespace segdino::detail {
namespace {

constexpr std::size_t kLongestLine = 300;  // bytes
constexpr std::size_t kLongestName = 80;
constexpr std::string_view kEllipsis = "\xe2\x80\xa6";

/// At most `limit` bytes, the ellipsis among them; never half of a UTF-8 character.
std::string cut(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit - kEllipsis.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // in the middle of a character
  text.resize(end);
  return text.append(kEllipsis);
}

/// Without the white space around it.
std::string_view stripped(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool begins_with(std::string_view line, std::string_view words) { return line.substr(0, words.size()) == words; }

/// Whether a line says where in a library's own source something was found, not what.
bool is_of_source(std::string_view line) {
  const bool is_check = begins_with(line, "Check '") && line.find("' failed at ") != std::string_view::npos;
  return (begins_with(line, "Exception from ") || is_check) && line.back() == ':';
}

}  // namespace

std::string one_line(const std::string& text) {
  std::string_view rest = stripped(text);
  std::string_view first;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find_first_of("\n\v\f\r"), rest.size());
    const std::string_view line = stripped(rest.substr(0, end));
    if (first.empty()) first = line;
    if (!is_of_source(line)) return cut(std::string(line), kLongestLine);
    rest = stripped(rest.substr(end));
  }
  return cut(std::string(first), kLongestLine);
}

std::string one_line(const std::exception& error) {
  const std::string line = one_line(std::string(error.what()));
  return line.empty() ? "unknown error" : line;
}

std::string joined(const std::vector<std::string>& words) {
  if (words.empty()) return "none";
  std::string text = words.front();
  for (std::size_t i = 1; i < words.size(); ++i) text += ", " + words[i];
  return text;
}

std::string printable(const std::string& name) {
  std::string shown = name;
  std::replace_if(shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return cut(shown, kLongestName);
}

std::string image_name(std::size_t index, std::size_t count) {
  return count == 1 ? "image" : "image " + std::to_string(index);
}

std::string shell_quoted(const std::string& text) {
  constexpr std::string_view kSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(kSafe) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\"'\"'";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace segdino::detail
