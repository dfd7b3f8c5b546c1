/// The format: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3.
#include "bundle/zip.hpp"

#include <zlib.h>

#include <algorithm>
#include <new>
#include <utility>

#include "segdino/segdino.hpp"
#include "text.hpp"

namespace segdino::detail::zip {
namespace {

constexpr std::uint32_t kSaturated16 = 0xffff;  // the value stands in a zip64 record
constexpr std::uint32_t kSaturated32 = 0xffffffff;

struct Directory {
  std::uint64_t entries = 0;
  std::uint64_t offset = 0;
};

Directory find_directory(const Content& content) {
  constexpr std::uint64_t kEnd = 22, kLocator = 20;  // bytes
  constexpr std::uint64_t kLongestComment = 0xffff;
  if (content.size() < kEnd) refuse(content.where(), "it is no archive");
  std::uint64_t end = content.size() - kEnd;
  while (content.u32(end) != 0x06054b50 || content.u16(end + 20) != content.size() - end - kEnd) {
    if (end == 0 || content.size() - end - kEnd >= kLongestComment) refuse(content.where(), "it is no archive");
    --end;
  }
  const Directory directory{content.u16(end + 10), content.u32(end + 16)};
  if (directory.entries != kSaturated16 && directory.offset != kSaturated32) return directory;
  if (end < kLocator || content.u32(end - kLocator) != 0x07064b50) return directory;
  const std::uint64_t end64 = content.u64(end - kLocator + 8);
  if (content.at(end64, 56).substr(0, 4) != "PK\6\6") refuse(content.where(), "its directory is not there");
  return {content.u64(end64 + 32), content.u64(end64 + 48)};
}

/// Values that do not fit into their 32 bits stand behind the name, in this order, each where it is needed.
void read_zip64(const Content& content, std::uint64_t begin, std::uint64_t end, Member& member) {
  for (std::uint64_t field = begin; end - field >= 4;) {
    const std::uint64_t size = content.u16(field + 2);
    std::uint64_t value = field + 4;
    field = value + size;
    if (field > end) refuse(content.where(), "it is cut off");
    if (content.u16(value - 4) != 1) continue;
    for (std::uint64_t* number : {&member.size, &member.packed, &member.header}) {
      if (*number != kSaturated32) continue;
      if (field - value < 8) refuse(content.where(), "a size is missing");
      *number = content.u64(value);
      value += 8;
    }
  }
}

/// Ends zlib's state whatever is thrown.
class Inflater {
 public:
  Inflater() {
    if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) throw std::bad_alloc();  // negative: without zlib's own header
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream_); }

  /// Whether `packed` gives exactly as many bytes as `out` has.
  bool run(std::string_view packed, std::string& out) {
    std::size_t read = 0, written = 0;
    int status = Z_OK;
    while (status == Z_OK) {
      const std::size_t in = std::min<std::size_t>(packed.size() - read, kMost);
      const std::size_t room = std::min<std::size_t>(out.size() - written, kMost);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + read));  // zlib only reads it
      stream_.avail_in = static_cast<uInt>(in);
      stream_.next_out = reinterpret_cast<Bytef*>(out.data() + written);
      stream_.avail_out = static_cast<uInt>(room);
      status = inflate(&stream_, Z_NO_FLUSH);  // Z_BUF_ERROR where one of the two has run out
      read += in - stream_.avail_in;
      written += room - stream_.avail_out;
    }
    return status == Z_STREAM_END && read == packed.size() && written == out.size();
  }

 private:
  static constexpr std::size_t kMost = std::size_t{1} << 30;  // zlib counts in 32 bits
  z_stream stream_{};
};

std::uint32_t crc32_of(std::string_view bytes) {
  uLong crc = crc32(0, nullptr, 0);
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, std::size_t{1} << 30);
    crc = crc32(crc, reinterpret_cast<const Bytef*>(piece.data()), static_cast<uInt>(piece.size()));
    bytes.remove_prefix(piece.size());
  }
  return static_cast<std::uint32_t>(crc);
}

}  // namespace

void refuse(const std::string& where, const std::string& why) {
  throw InputError(where + ": not an .npz file of NumPy that can be read: " + why + "; copy it again",
                   "an .npz file of uint8 and float32 arrays", why);
}

std::vector<Member> read_directory(const Content& content) {
  constexpr std::uint64_t kHeader = 46;  // bytes before the name
  const Directory directory = find_directory(content);
  std::vector<Member> members;
  std::uint64_t offset = directory.offset;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    if (content.u32(offset) != 0x02014b50) refuse(content.where(), "its directory is damaged");
    if ((content.u16(offset + 8) & 1) != 0) refuse(content.where(), "it is encrypted");
    const std::uint64_t name = offset + kHeader;
    const std::uint64_t extra = name + content.u16(offset + 28);
    const std::uint64_t comment = extra + content.u16(offset + 30);
    Member member;
    member.method = content.u16(offset + 10);
    member.crc32 = content.u32(offset + 16);
    member.packed = content.u32(offset + 20);
    member.size = content.u32(offset + 24);
    member.header = content.u32(offset + 42);
    member.name = content.at(name, extra - name);
    read_zip64(content, extra, comment, member);
    offset = comment + content.u16(offset + 32);
    members.push_back(std::move(member));
  }
  return members;
}

std::string unpack(const Content& content, const Member& member) {
  constexpr std::uint64_t kHeader = 30;          // bytes before the name
  constexpr std::uint64_t kLargestRatio = 1032;  // of deflate: 258 bytes for 2 bits
  const std::string name = printable(member.name);
  if (content.u32(member.header) != 0x04034b50) refuse(content.where(), name + " is not where the directory says");
  const std::uint64_t begin =
      member.header + kHeader + content.u16(member.header + 26) + content.u16(member.header + 28);
  const std::string_view packed = content.at(begin, member.packed);
  std::string bytes;
  if (member.method == 0) {
    if (member.size != member.packed) refuse(content.where(), name + " has two sizes");
    bytes = packed;
  } else if (member.method == Z_DEFLATED) {
    // Before as much memory is taken as a damaged directory asks for.
    if (member.size / kLargestRatio > member.packed) refuse(content.where(), name + " has an impossible size");
    bytes.resize(static_cast<std::size_t>(member.size));
    if (!Inflater().run(packed, bytes)) refuse(content.where(), name + " cannot be unpacked");
  } else {
    refuse(content.where(), name + " is packed with method " + std::to_string(member.method));
  }
  if (crc32_of(bytes) != member.crc32) refuse(content.where(), name + " has another CRC-32");
  return bytes;
}

}  // namespace segdino::detail::zip
