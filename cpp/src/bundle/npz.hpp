/// Arrays in NumPy's .npz files: zip archives of .npy files, stored or deflated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace segdino::detail {

/// Little-endian, C order.
struct Array {
  std::string dtype;  // "|u1" or "<f4"
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> bytes;
};

/// Arrays by name. InputError (naming `where`) for anything that is damaged, of another type, or larger than
/// `max_bytes` when unpacked.
std::map<std::string, Array> read_npz(std::string_view content, const std::string& where,
                                      std::uint64_t max_bytes = std::uint64_t{4} << 30);

}  // namespace segdino::detail
