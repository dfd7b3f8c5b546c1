#include <algorithm>
#include <cstring>
#include <vector>

#include "image/resize_kernels.hpp"
#include "image/resize_passes.hpp"
#include "image/resize_taps.hpp"

namespace segdino::detail {
namespace {

Pixels read_rgb(const CheckedView& view) {
  Pixels rgb(PixelFormat::rgb, view.region.width, view.region.height);
  for (int y = 0; y < view.region.height; ++y) read_row_rgb(view, y, rgb.row(y));
  return rgb;
}

int longest(const std::vector<Window>& windows) {
  int count = 0;
  for (const Window& window : windows) count = std::max(count, window.count);
  return count;
}

}  // namespace

Pixels resize_height(const CheckedView& view, int height, ResizeFilter filter) {
  if (view.format == PixelFormat::nv12) return resize_height(read_rgb(view).view(), height, filter);
  const Blend blend = blends().items[0];
  const Taps<std::int32_t> taps = make_fixed_taps(filter, view.region.height, height);
  Pixels resized(view.format, view.region.width, height);
  const std::size_t used = pixel_bytes(view.format) * static_cast<std::size_t>(view.region.width);
  const std::size_t whole = used / kLanes * kLanes;
  std::vector<std::uint8_t> ends(static_cast<std::size_t>(longest(taps.windows)) * kLanes);
  for (int y = 0; y < height; ++y) {
    const Window& window = taps.windows[static_cast<std::size_t>(y)];
    const std::int32_t* weights = &taps.weights[window.weights];
    const std::uint8_t* rows = row_start(view, window.first);
    std::uint8_t* out = resized.row(y);
    for (std::size_t x = 0; x < whole; x += kLanes) blend(rows + x, view.stride, weights, window.count, out + x);
    if (whole == used) continue;
    for (std::size_t tap = 0; tap < static_cast<std::size_t>(window.count); ++tap) {  // nothing behind a row is read
      std::memcpy(&ends[tap * kLanes], rows + tap * view.stride + whole, used - whole);
    }
    blend(ends.data(), kLanes, weights, window.count, out + whole);
  }
  return resized;
}

}  // namespace segdino::detail
