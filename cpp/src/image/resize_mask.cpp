#include <cstring>
#include <vector>

#include "image/resize.hpp"

namespace segdino::detail {
namespace {

/// The source pixel of every output pixel. Positions are summed up step by step as Pillow does it, with its rounding:
/// where a position falls on the border of two pixels, this decides. For sizes up to 65535 all sums stay inside.
std::vector<std::size_t> nearest_pixels(int in, int out) {
  const double step = static_cast<double>(in) / out;
  double position = step * 0.5;
  std::vector<std::size_t> pixels;
  pixels.reserve(static_cast<std::size_t>(out));
  for (int index = 0; index < out; ++index, position += step) pixels.push_back(static_cast<std::size_t>(position));
  return pixels;
}

}  // namespace

void resize_mask(const std::uint8_t* mask, int in_width, int in_height, int width, int height, std::uint8_t* out) {
  const auto in_stride = static_cast<std::size_t>(in_width);
  const auto stride = static_cast<std::size_t>(width);
  if (width == in_width && height == in_height) {
    std::memcpy(out, mask, stride * static_cast<std::size_t>(height));
    return;
  }
  const std::vector<std::size_t> columns = nearest_pixels(in_width, width);
  const std::vector<std::size_t> rows = nearest_pixels(in_height, height);
  for (std::size_t y = 0; y < rows.size(); ++y, out += stride) {
    if (y > 0 && rows[y] == rows[y - 1]) {
      std::memcpy(out, out - stride, stride);
      continue;
    }
    const std::uint8_t* row = mask + rows[y] * in_stride;
    for (std::size_t x = 0; x < stride; ++x) out[x] = row[columns[x]];
  }
}

}  // namespace segdino::detail
