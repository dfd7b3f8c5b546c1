#include "image/view.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "image/nv12.hpp"

namespace segdino::detail {
namespace {

constexpr int kLargestSide = 65535;

/// One image's name in messages, and what is refused of it.
struct Named {
  const std::string& image;

  [[noreturn]] void refuse(const std::string& what, std::string expected, std::string got) const {
    throw InputError(image + ": " + what, std::move(expected), std::move(got));
  }
  void check_format(PixelFormat format) const;
  void check_stride(const std::string& name, std::size_t stride, std::size_t row, const std::string& in_words,
                    int rows) const;
  void check_region(const Region& region, int width, int height) const;
};

std::string size_text(int width, int height) { return std::to_string(width) + "x" + std::to_string(height); }

void Named::check_format(PixelFormat format) const {
  const int number = static_cast<int>(format);
  if (number >= static_cast<int>(PixelFormat::rgb) && number <= static_cast<int>(PixelFormat::nv12)) return;
  const std::string got = std::to_string(number);
  refuse("pixel format " + got + " is not known: 0 (rgb) to 5 (nv12) are", "0 to 5", got);
}

/// `row`: bytes of a row's pixels, `in_words`: what they are.
void Named::check_stride(const std::string& name, std::size_t stride, std::size_t row, const std::string& in_words,
                         int rows) const {
  const std::string got = std::to_string(stride);
  if (stride < row) {
    const std::string expected = "at least " + std::to_string(row);
    refuse(name + " is " + got + " bytes: " + expected + " (" + in_words + ") is expected", expected, got);
  }
  // A quarter of the address space for each plane, so that no sum of offsets can pass its end.
  const std::size_t largest = std::numeric_limits<std::size_t>::max() / 4 / static_cast<std::size_t>(rows);
  if (stride > largest) {
    refuse(name + " is " + got + " bytes: " + std::to_string(rows) + " such rows are larger than the address space",
           "at most " + std::to_string(largest), got);
  }
}

void Named::check_region(const Region& region, int width, int height) const {
  const auto is_inside = [](int start, int length, int whole) {
    return start >= 0 && length >= 1 && start < whole && length <= whole - start;
  };
  if (is_inside(region.x, region.width, width) && is_inside(region.y, region.height, height)) return;
  const std::string got =
      size_text(region.width, region.height) + " at x " + std::to_string(region.x) + ", y " + std::to_string(region.y);
  const std::string expected = "inside " + size_text(width, height);
  refuse("the region of " + got + " is not " + expected + " pixels", expected, got);
}

}  // namespace

std::size_t pixel_bytes(PixelFormat format) {
  switch (format) {
    case PixelFormat::rgb:
    case PixelFormat::bgr:
      return 3;
    case PixelFormat::rgba:
    case PixelFormat::bgra:
      return 4;
    case PixelFormat::grey:
    case PixelFormat::nv12:
      return 1;
  }
  return 0;  // check_view takes no other one
}

const std::uint8_t* row_start(const CheckedView& view, int y) {
  return view.data + static_cast<std::size_t>(view.region.y + y) * view.stride +
         static_cast<std::size_t>(view.region.x) * pixel_bytes(view.format);
}

CheckedView check_view(const ImageView& image, const std::string& name) {
  const Named named{name};
  if (image.data == nullptr) named.refuse("data is null: a pointer to the first row is expected", "a pointer", "null");
  const std::string size = size_text(image.width, image.height);
  const auto is_side = [](int side) { return side >= 1 && side <= kLargestSide; };
  if (!is_side(image.width) || !is_side(image.height)) {
    named.refuse("the size is " + size + ": 1 to 65535 pixels are expected each way", "1 to 65535", size);
  }
  named.check_format(image.format);
  const std::size_t pixel = pixel_bytes(image.format);
  const bool is_nv12 = image.format == PixelFormat::nv12;
  if (is_nv12 && (image.width % 2 != 0 || image.height % 2 != 0)) {
    named.refuse("nv12 of " + size + " pixels: an even width and height are expected", "even", size);
  }

  CheckedView view;
  view.data = image.data;
  view.format = image.format;
  const std::string width = std::to_string(image.width);
  const std::size_t row = pixel * static_cast<std::size_t>(image.width);
  view.stride = image.stride == 0 ? row : image.stride;
  named.check_stride("stride", view.stride, row,
                     width + " pixels of " + std::to_string(pixel) + (pixel == 1 ? " byte" : " bytes"), image.height);
  if (is_nv12) {
    view.chroma_stride = image.chroma_stride == 0 ? view.stride : image.chroma_stride;
    named.check_stride("chroma_stride", view.chroma_stride, row, std::to_string(image.width / 2) + " pairs of 2 bytes",
                       image.height / 2);
    view.chroma =
        image.chroma == nullptr ? image.data + view.stride * static_cast<std::size_t>(image.height) : image.chroma;
  }
  view.region = image.region.value_or(Region{0, 0, image.width, image.height});
  named.check_region(view.region, image.width, image.height);
  return view;
}

void read_row_rgb(const CheckedView& view, int y, std::uint8_t* rgb) {
  const auto width = static_cast<std::size_t>(view.region.width);
  const std::uint8_t* in = row_start(view, y);
  const auto interleave = [&](std::size_t step, const std::uint8_t* red, const std::uint8_t* green,
                              const std::uint8_t* blue, std::size_t count) {
    for (std::size_t i = 0; i < count * step; i += step, rgb += 3) {
      rgb[0] = red[i];
      rgb[1] = green[i];
      rgb[2] = blue[i];
    }
  };
  switch (view.format) {
    case PixelFormat::rgb:
      std::memcpy(rgb, in, 3 * width);
      return;
    case PixelFormat::bgr:
      return interleave(3, in + 2, in + 1, in, width);
    case PixelFormat::rgba:
      return interleave(4, in, in + 1, in + 2, width);
    case PixelFormat::bgra:
      return interleave(4, in + 2, in + 1, in, width);
    case PixelFormat::grey:
      return interleave(1, in, in, in, width);
    case PixelFormat::nv12: {
      constexpr int kPiece = 512;  // pixels that are on the stack at a time
      std::uint8_t planes[3 * kPiece];
      for (int x = 0; x < view.region.width; x += kPiece) {
        const int count = std::min(kPiece, view.region.width - x);
        nv12_row_to_planes(view, y, x, count, planes);
        interleave(1, planes, planes + count, planes + 2 * count, static_cast<std::size_t>(count));
      }
      return;
    }
  }
}

}  // namespace segdino::detail
