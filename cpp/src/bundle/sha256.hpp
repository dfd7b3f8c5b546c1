#pragma once

#include <filesystem>
#include <string>

namespace segdino::detail {

/// Of a file's content, 64 hexadecimal digits. InputError where it cannot be read.
std::string sha256_of(const std::filesystem::path& file);

}  // namespace segdino::detail
