/// libFuzzer: any bytes as an .npz file, and as an array in a sound one: a checksum keeps most changes of a file away
/// from what reads the array's header.
#include <zlib.h>

#include <cstdlib>
#include <string>

#include "bundle/npz.hpp"
#include "segdino/segdino.hpp"

using namespace segdino::detail;

namespace {

constexpr std::uint64_t kMaxBytes = 1 << 24;

void require(bool is_fine) {
  if (!is_fine) std::abort();
}

void append(std::string& bytes, std::uint32_t value, unsigned count) {
  for (unsigned i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i));
}

/// An archive of one stored file.
std::string archive_of(std::string_view content) {
  const std::string name = "a.npy";
  const auto size = static_cast<std::uint32_t>(content.size());
  const uLong crc = crc32(crc32(0, nullptr, 0), reinterpret_cast<const Bytef*>(content.data()), size);
  std::string fields;  // of both headers: from the version needed to the length of the extra field
  append(fields, 20, 2);
  append(fields, 0, 4);
  append(fields, 0, 4);
  append(fields, static_cast<std::uint32_t>(crc), 4);
  append(fields, size, 4);
  append(fields, size, 4);
  append(fields, static_cast<std::uint32_t>(name.size()), 2);
  append(fields, 0, 2);
  std::string bytes;
  append(bytes, 0x04034b50, 4);
  bytes += fields + name;
  bytes += content;
  const auto directory = static_cast<std::uint32_t>(bytes.size());
  append(bytes, 0x02014b50, 4);
  append(bytes, 20, 2);
  bytes += fields;
  for (const unsigned count : {2U, 2U, 2U, 4U, 4U}) append(bytes, 0, count);  // from the comment to the header's offset
  bytes += name;
  const auto end = static_cast<std::uint32_t>(bytes.size());
  append(bytes, 0x06054b50, 4);
  append(bytes, 0, 4);
  append(bytes, 1, 2);
  append(bytes, 1, 2);
  append(bytes, end - directory, 4);
  append(bytes, directory, 4);
  append(bytes, 0, 2);
  return bytes;
}

/// To know that the archives made here are such that get as far as their arrays.
std::string sound_array() {
  const std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
  std::string bytes = "\x93NUMPY\1";
  append(bytes, 0, 1);
  append(bytes, static_cast<std::uint32_t>(header.size()), 2);
  return bytes + header + "ab";
}

/// Whether it could be read.
bool read(std::string_view content) {
  try {
    std::uint64_t total = 0;
    for (const auto& [name, array] : read_npz(content, "fuzz.npz", kMaxBytes)) {
      std::uint64_t size = array.dtype == "<f4" ? 4 : 1;
      for (const std::int64_t length : array.shape) {
        require(length >= 0);
        size = size == 0 || length == 0 ? 0 : size * static_cast<std::uint64_t>(length);
      }
      require(array.bytes.size() == size);
      total += size;
    }
    require(total <= kMaxBytes);
    return true;
  } catch (const segdino::InputError& error) {
    require(std::string(error.what()).find('\n') == std::string::npos);
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool is_sound = read(archive_of(sound_array()));
  require(is_sound);
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  read(content);
  read(archive_of(content));
  return 0;
}
