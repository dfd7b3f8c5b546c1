#include "orientation.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

namespace example {
namespace {

/// A part of a file, which reads as zeros behind its end.
class Part {
 public:
  Part() = default;
  Part(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  Part from(std::size_t offset, std::size_t size) const {
    if (offset >= size_) return {};
    return {data_ + offset, std::min(size, size_ - offset)};
  }
  Part from(std::size_t offset) const { return from(offset, size_); }
  std::uint32_t number(std::size_t offset, std::size_t bytes, bool little_endian) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      const std::size_t at = offset + (little_endian ? bytes - 1 - i : i);
      value = value << 8 | (at < size_ ? data_[at] : 0U);
    }
    return value;
  }
  bool starts_with(std::string_view text) const {
    return size_ >= text.size() && std::memcmp(data_, text.data(), text.size()) == 0;
  }
  std::size_t size() const { return size_; }

 private:
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Tag 0x0112 of the first directory of a TIFF structure (Exif 2.3, section 4.6.2).
int orientation_of_tiff(Part tiff) {
  const bool little = tiff.starts_with("II");
  if (!little && !tiff.starts_with("MM")) return 1;
  const Part directory = tiff.from(tiff.number(4, 4, little));
  const std::uint32_t entries = directory.number(0, 2, little);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const Part entry = directory.from(2 + std::size_t{12} * i, 12);
    if (entry.number(0, 2, little) != 0x0112) continue;
    const std::uint32_t value = entry.number(8, 2, little);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

int orientation_of_jpeg(Part file) {
  std::size_t at = 2;
  while (at + 4 <= file.size() && file.number(at, 1, false) == 0xFF) {
    const std::uint32_t marker = file.number(at + 1, 1, false);
    if (marker == 0xDA) return 1;  // the pixels begin
    const std::uint32_t length = file.number(at + 2, 2, false);
    const Part content = file.from(at + 4, length);
    if (marker == 0xE1 && content.starts_with({"Exif\0\0", 6})) return orientation_of_tiff(content.from(6));
    at += 2 + std::size_t{length};
  }
  return 1;
}

int orientation_of_png(Part file) {
  for (std::size_t at = 8; at + 12 <= file.size();) {
    const std::uint32_t length = file.number(at, 4, false);
    if (file.from(at + 4, 4).starts_with("eXIf")) return orientation_of_tiff(file.from(at + 8, length));
    at += 12 + std::size_t{length};
  }
  return 1;
}

}  // namespace

int exif_orientation(const std::vector<std::uint8_t>& content) {
  const Part file(content.data(), content.size());
  if (file.starts_with("\xFF\xD8")) return orientation_of_jpeg(file);
  if (file.starts_with("\x89PNG")) return orientation_of_png(file);
  return 1;
}

RgbImage upright(RgbImage image, int orientation) {
  if (orientation == 1) return image;
  const bool turned = orientation >= 5;  // rows become columns
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  RgbImage out{turned ? image.height : image.width, turned ? image.width : image.height, {}};
  out.pixels.resize(image.pixels.size());
  std::uint8_t* to = out.pixels.data();
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x, to += 3) {
      const int across = turned ? y : x;
      const int down = turned ? x : y;
      const auto column = static_cast<std::size_t>(flip_x ? image.width - 1 - across : across);
      const auto row = static_cast<std::size_t>(flip_y ? image.height - 1 - down : down);
      std::memcpy(to, &image.pixels[(row * static_cast<std::size_t>(image.width) + column) * 3], 3);
    }
  }
  return out;
}

}  // namespace example
