/// Zip archives in memory, which may be damaged or hostile.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace segdino::detail::zip {

/// What is thrown for a file that cannot be used; `why` in a few words.
[[noreturn]] void refuse(const std::string& where, const std::string& why);

/// Little-endian numbers anywhere in a file; nothing outside of it is read.
class Content {
 public:
  Content(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::uint64_t size() const { return bytes_.size(); }
  const std::string& where() const { return where_; }

  std::string_view at(std::uint64_t offset, std::uint64_t count) const {
    if (offset > size() || count > size() - offset) refuse(where_, "it is cut off");
    return bytes_.substr(static_cast<std::size_t>(offset), static_cast<std::size_t>(count));
  }
  std::uint32_t u16(std::uint64_t offset) const { return static_cast<std::uint32_t>(number(offset, 2)); }
  std::uint32_t u32(std::uint64_t offset) const { return static_cast<std::uint32_t>(number(offset, 4)); }
  std::uint64_t u64(std::uint64_t offset) const { return number(offset, 8); }

 private:
  std::uint64_t number(std::uint64_t offset, unsigned bytes) const {
    std::uint64_t value = 0;
    unsigned shift = 0;
    for (const char c : at(offset, bytes)) {
      value |= std::uint64_t{static_cast<unsigned char>(c)} << shift;
      shift += 8;
    }
    return value;
  }

  std::string_view bytes_;
  const std::string& where_;
};

/// One file of the archive, still packed.
struct Member {
  std::string name;
  std::uint32_t method = 0;
  std::uint32_t crc32 = 0;
  std::uint64_t packed = 0;  // bytes
  std::uint64_t size = 0;
  std::uint64_t header = 0;  // offset of its local header
};

/// The files of an archive, as its directory lists them. InputError where it is damaged.
std::vector<Member> read_directory(const Content& content);

/// A file's bytes. InputError where they are damaged.
std::string unpack(const Content& content, const Member& member);

}  // namespace segdino::detail::zip
