#include "engine/mapped_file.hpp"

#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

#include "segdino/segdino.hpp"

#if defined(__unix__) || defined(__APPLE__)
#define SEGDINO_CAN_MAP
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace segdino::detail {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw InputError(path.string() + ": cannot be read (" + why + "); copy the bundle again");
}

#ifdef SEGDINO_CAN_MAP
[[noreturn]] void refuse_for(const std::filesystem::path& path, int error) {
  refuse(path, std::generic_category().message(error));
}
#endif

}  // namespace

#ifdef SEGDINO_CAN_MAP

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) refuse_for(path, errno);
  struct stat status = {};
  const int error = ::fstat(descriptor, &status) == 0 ? 0 : errno;
  size_ = static_cast<std::size_t>(status.st_size);
  void* const mapped =
      error == 0 && size_ > 0 ? ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0) : MAP_FAILED;
  const int refusal = error != 0 ? error : errno;
  ::close(descriptor);  // the mapping stays
  if (error == 0 && size_ == 0) refuse(path, "it is empty");
  if (mapped == MAP_FAILED) refuse_for(path, refusal);
  data_ = mapped;
}

MappedFile::~MappedFile() { ::munmap(const_cast<void*>(data_), size_); }

#else

MappedFile::MappedFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  read_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  if (!file) refuse(path, "an error while reading");
  if (read_.empty()) refuse(path, "it is empty");
  data_ = read_.data();
  size_ = read_.size();
}

MappedFile::~MappedFile() = default;

#endif

}  // namespace segdino::detail
