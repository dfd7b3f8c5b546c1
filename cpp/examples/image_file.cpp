#include "image_file.hpp"

#include <fstream>
#include <iterator>
#include <random>
#include <system_error>

#include "codec.hpp"
#include "orientation.hpp"
#include "segdino/segdino.hpp"

namespace example {

namespace fs = std::filesystem;

namespace {

Bytes read_file(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) throw segdino::InputError(path.string() + ": no such file");
  if (fs::is_directory(path, ignored)) throw segdino::InputError(path.string() + ": a folder, not an image");
  std::ifstream file(path, std::ios::binary);
  Bytes content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file || content.empty()) throw segdino::InputError(path.string() + ": not a file that can be read");
  return content;
}

/// The temporary file of a write: gone at the end, unless it got its name.
struct Temporary {
  fs::path path;
  ~Temporary() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

}  // namespace

RgbImage read_image(const fs::path& path) {
  const Bytes content = read_file(path);
  Decoded decoded = decode(content);
  if (!decoded.problem.empty()) throw segdino::InputError(path.string() + ": " + decoded.problem);
  return upright(std::move(decoded.image), exif_orientation(content));
}

void write_png(const fs::path& path, const std::vector<std::uint8_t>& pixels, int width, int height) {
  const Bytes content = encode_png(pixels, width, height);
  const auto failed = [&] {
    return segdino::InputError(path.string() + ": cannot be written: choose another place, or free some space");
  };
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  if (error) throw failed();
  const Temporary temporary{
      fs::path(path).replace_filename("." + path.filename().string() + "." + std::to_string(std::random_device()()))};
  std::ofstream file(temporary.path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) throw failed();
  fs::rename(temporary.path, path, error);
  if (error) throw failed();
}

}  // namespace example
