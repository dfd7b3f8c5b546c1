/// The arrays: "NPY format" of NumPy's reference, versions 1.0 and 2.0.
#include "bundle/npz.hpp"

#include <algorithm>
#include <optional>

#include "bundle/zip.hpp"
#include "segdino/segdino.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

using zip::Content;
using zip::refuse;

/// Reads the header of an array: {'descr': '<f4', 'fortran_order': False, 'shape': (1, 64, 96), } and nothing else.
class Header {
 public:
  Header(std::string_view text, const std::string& where, const std::string& name)
      : text_(text), where_(where), name_(name) {}

  Array read() {
    std::optional<std::string> dtype, order;
    std::optional<std::vector<std::int64_t>> shape;
    expect('{');
    for (bool is_more = true; is_more && !accept('}'); is_more = accept_comma('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !dtype) {
        dtype = quoted();
      } else if (key == "fortran_order" && !order) {
        order = word();
      } else if (key == "shape" && !shape) {
        shape = tuple();
      } else {
        damaged();
      }
    }
    skip_spaces();
    if (!text_.empty() || !dtype || !order || !shape) damaged();
    if (*dtype != "|u1" && *dtype != "<f4") refuse(where_, name_ + " has type " + printable(*dtype));
    if (*order != "False") refuse(where_, name_ + " is not in C order");
    return {*dtype, *shape, {}};
  }

 private:
  [[noreturn]] void damaged() const { refuse(where_, name_ + " has a damaged header"); }

  void skip_spaces() { text_.remove_prefix(std::min(text_.find_first_not_of(" \n"), text_.size())); }

  bool accept(char c) {
    skip_spaces();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) damaged();
  }
  /// Whether another element may follow; else `end` has been read.
  bool accept_comma(char end) {
    if (accept(',')) return true;
    expect(end);
    return false;
  }

  std::string_view take(std::size_t count) {
    const std::string_view taken = text_.substr(0, count);
    text_.remove_prefix(taken.size());
    return taken;
  }
  std::string quoted() {
    expect('\'');
    const std::string text(take(text_.find('\'')));
    expect('\'');
    return text;
  }
  std::string word() {
    skip_spaces();
    return std::string(take(text_.find_first_of(" ,}")));
  }

  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> values;
    expect('(');
    for (bool is_more = true; is_more && !accept(')');) {
      values.push_back(number());
      const bool is_first = values.size() == 1;
      is_more = accept_comma(')');
      if (is_first && !is_more) damaged();  // (3) is a number, (3,) a tuple
    }
    return values;
  }
  std::int64_t number() {
    skip_spaces();
    const std::string_view digits = take(text_.find_first_not_of("0123456789"));
    if (digits.empty()) damaged();
    std::int64_t value = 0;
    for (const char c : digits) {
      const int digit = c - '0';
      if (value > (INT64_MAX - digit) / 10) damaged();
      value = value * 10 + digit;
    }
    return value;
  }

  std::string_view text_;
  const std::string& where_;
  const std::string& name_;
};

/// Bytes that an array of this type and shape has; nothing where that is more than `largest`.
std::optional<std::uint64_t> size_of(const Array& array, std::uint64_t largest) {
  std::uint64_t size = array.dtype == "<f4" ? 4 : 1;
  if (std::find(array.shape.begin(), array.shape.end(), 0) != array.shape.end()) return 0;
  for (const std::int64_t length : array.shape) {
    if (static_cast<std::uint64_t>(length) > largest / size) return std::nullopt;
    size *= static_cast<std::uint64_t>(length);
  }
  return size;
}

Array read_npy(std::string_view bytes, const std::string& where, const std::string& name) {
  const Content content(bytes, where);
  if (content.at(0, 6) != "\x93NUMPY") refuse(where, name + " is no array");
  const std::uint32_t version = content.u16(6);  // the minor one in the upper byte
  if (version != 1 && version != 2) refuse(where, name + " has a format of another version");
  const std::uint64_t begin = version == 1 ? 10 : 12;
  const std::uint64_t length = version == 1 ? content.u16(8) : content.u32(8);
  Array array = Header(content.at(begin, length), where, name).read();
  const std::string_view values = bytes.substr(static_cast<std::size_t>(begin + length));
  if (size_of(array, values.size()) != values.size()) refuse(where, name + " has a size that is not its shape's");
  array.bytes.assign(values.begin(), values.end());
  return array;
}

}  // namespace

std::map<std::string, Array> read_npz(std::string_view content, const std::string& where, std::uint64_t max_bytes) {
  constexpr std::string_view kSuffix = ".npy";
  const Content archive(content, where);
  std::map<std::string, Array> arrays;
  std::uint64_t left = max_bytes;
  for (const zip::Member& member : zip::read_directory(archive)) {
    const std::string shown = printable(member.name);
    if (member.size > left) refuse(where, "it holds more than " + std::to_string(max_bytes) + " bytes");
    left -= member.size;
    const std::size_t length = member.name.size() - std::min(member.name.size(), kSuffix.size());
    if (member.name.compare(length, std::string::npos, kSuffix) != 0) refuse(where, shown + " is no array");
    Array array = read_npy(zip::unpack(archive, member), where, shown);
    if (!arrays.emplace(member.name.substr(0, length), std::move(array)).second)
      refuse(where, shown + " is there twice");
  }
  return arrays;
}

}  // namespace segdino::detail
