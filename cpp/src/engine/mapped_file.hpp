/// A file's bytes, for a library that makes its own copy of them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

namespace segdino::detail {

/// Mapped where the system can, as a Jetson has no room for an engine twice; else read.
class MappedFile {
 public:
  /// InputError where it cannot be read, or is empty.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const void* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
  std::vector<char> read_;  // where it is not mapped
};

}  // namespace segdino::detail
