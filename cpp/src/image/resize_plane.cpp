#include <algorithm>
#include <cstddef>
#include <vector>

#include "image/resize.hpp"
#include "image/resize_taps.hpp"

// As Pillow does it: sums in double, in the order of the pixels, and float between the two passes. Compiled with
// -ffp-contract=off, as a fused multiply-add rounds differently.

namespace segdino::detail {
namespace {

/// [height][in_width] to [height][width].
void resize_width(const float* in, int in_width, int height, int width, float* out) {
  const Taps<double> taps = make_taps(ResizeFilter::bilinear, in_width, width);
  for (int y = 0; y < height; ++y, in += in_width) {
    for (const Window& window : taps.windows) {
      const float* pixels = in + window.first;
      const double* weights = &taps.weights[window.weights];
      double sum = 0.0;
      for (int tap = 0; tap < window.count; ++tap) sum += pixels[tap] * weights[tap];
      *out++ = static_cast<float>(sum);
    }
  }
}

/// [in_height][width] to [height][width].
void resize_height(const float* in, int in_height, int width, int height, float* out) {
  const Taps<double> taps = make_taps(ResizeFilter::bilinear, in_height, height);
  const auto stride = static_cast<std::size_t>(width);
  std::vector<double> sums(stride);
  for (const Window& window : taps.windows) {
    std::fill(sums.begin(), sums.end(), 0.0);
    const float* row = in + static_cast<std::size_t>(window.first) * stride;
    for (int tap = 0; tap < window.count; ++tap, row += stride) {
      const double weight = taps.weights[window.weights + static_cast<std::size_t>(tap)];
      for (std::size_t x = 0; x < stride; ++x) sums[x] += row[x] * weight;
    }
    for (std::size_t x = 0; x < stride; ++x) *out++ = static_cast<float>(sums[x]);
  }
}

std::vector<float> make_plane(int width, int height) {
  return std::vector<float>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
}

}  // namespace

void resize_plane(const float* plane, int in_width, int in_height, int width, int height, float* out) {
  if (width == in_width && height == in_height) {
    std::copy_n(plane, static_cast<std::size_t>(width) * static_cast<std::size_t>(height), out);
  } else if (width == in_width) {
    resize_height(plane, in_height, width, height, out);
  } else if (height == in_height) {
    resize_width(plane, in_width, height, width, out);
  } else if (is_height_first(in_width, in_height, width, height)) {
    std::vector<float> resized = make_plane(in_width, height);
    resize_height(plane, in_height, in_width, height, resized.data());
    resize_width(resized.data(), in_width, height, width, out);
  } else {
    std::vector<float> resized = make_plane(width, in_height);
    resize_width(plane, in_width, in_height, width, resized.data());
    resize_height(resized.data(), in_height, width, height, out);
  }
}

}  // namespace segdino::detail
