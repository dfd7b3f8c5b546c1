#include <algorithm>
#include <array>
#include <cstring>

#include "image/nv12.hpp"
#include "image/resize_kernels.hpp"
#include "image/resize_passes.hpp"
#include "image/resize_taps.hpp"

// Blocks of kLanes rows are turned by 90 degrees, so that a pixel of all rows at once is the weighted sum of vectors,
// and turned back.

namespace segdino::detail {
namespace {

/// How a block holds a row of pixels.
struct Layout {
  std::size_t pixel;  // bytes from one pixel to the next
  std::size_t row;    // bytes
  std::size_t channels;
  std::array<std::size_t, 3> first;  // byte of a row where a channel begins
};

Layout layout_of(const CheckedView& view) {
  const auto width = static_cast<std::size_t>(view.region.width);
  switch (view.format) {
    case PixelFormat::bgr:
      return {3, 3 * width, 3, {2, 1, 0}};
    case PixelFormat::rgba:
      return {4, 4 * width, 3, {0, 1, 2}};
    case PixelFormat::bgra:
      return {4, 4 * width, 3, {2, 1, 0}};
    case PixelFormat::grey:
      return {1, width, 1, {0, 0, 0}};
    case PixelFormat::nv12:  // converted when it is read
      return {1, 3 * width, 3, {0, width, 2 * width}};
    case PixelFormat::rgb:
      break;
  }
  return {3, 3 * width, 3, {0, 1, 2}};
}

/// kLanes rows of the view's region, turned: byte x of row y is at [x][y].
class Block {
 public:
  explicit Block(const CheckedView& view)
      : view_(view),
        layout_(layout_of(view)),
        columns_(round_up(layout_.row) * kLanes),
        converted_(view.format == PixelFormat::nv12 ? layout_.row * kLanes : 0) {}

  std::size_t channels() const { return layout_.channels; }

  /// One channel of pixel `x` of all rows.
  const std::uint8_t* pixel(int x, std::size_t channel) const {
    return columns_.data() + (static_cast<std::size_t>(x) * layout_.pixel + layout_.first[channel]) * kLanes;
  }

  /// Bytes from there to the next pixel.
  std::size_t stride() const { return layout_.pixel * kLanes; }

  /// `count` rows of the region from `first` on; the block's other rows repeat the last one.
  void read(int first, int count) {
    std::array<const std::uint8_t*, kLanes> rows;
    for (std::size_t i = 0; i < kLanes; ++i) {
      rows[i] = i < static_cast<std::size_t>(count) ? row(first + static_cast<int>(i), i) : rows[i - 1];
    }
    std::size_t x = 0;
    for (; x + kLanes <= layout_.row; x += kLanes) {
      transpose(rows.data(), columns_.data() + x * kLanes, kLanes);
      for (const std::uint8_t*& row : rows) row += kLanes;
    }
    if (x == layout_.row) return;
    std::uint8_t ends[kLanes][kLanes] = {};  // as nothing behind a row is read
    for (std::size_t i = 0; i < kLanes; ++i) {
      std::memcpy(ends[i], rows[i], layout_.row - x);
      rows[i] = ends[i];
    }
    transpose(rows.data(), columns_.data() + x * kLanes, kLanes);
  }

 private:
  const std::uint8_t* row(int y, std::size_t slot) const {
    if (view_.format != PixelFormat::nv12) return row_start(view_, y);
    std::uint8_t* planes = converted_.data() + slot * layout_.row;
    nv12_row_to_planes(view_, y, 0, view_.region.width, planes);
    return planes;
  }

  const CheckedView& view_;
  const Layout layout_;
  Bytes columns_;
  Bytes converted_;
};

/// [columns][kLanes] to kLanes rows. `columns`: a multiple of kLanes.
void turn_back(const std::uint8_t* block, std::size_t columns, std::uint8_t* rows) {
  std::array<const std::uint8_t*, kLanes> next;
  for (std::size_t x = 0; x < columns; x += kLanes) {
    for (std::size_t i = 0; i < kLanes; ++i) next[i] = block + (x + i) * kLanes;
    transpose(next.data(), rows + x, columns);
  }
}

}  // namespace

Pixels resize_width(const CheckedView& view, int width, ResizeFilter filter) {
  const Blend blend = blends().items[0];
  const Taps<std::int32_t> taps = make_fixed_taps(filter, view.region.width, width);
  const int height = view.region.height;
  Pixels resized(view.format == PixelFormat::grey ? view.format : PixelFormat::rgb, width, height);
  Block block(view);
  const Bytes blended(resized.view().stride * kLanes);
  for (int y = 0; y < height; y += static_cast<int>(kLanes)) {
    block.read(y, std::min(height - y, static_cast<int>(kLanes)));
    std::uint8_t* next = blended.data();
    for (const Window& window : taps.windows) {
      for (std::size_t channel = 0; channel < block.channels(); ++channel, next += kLanes) {
        blend(block.pixel(window.first, channel), block.stride(), &taps.weights[window.weights], window.count, next);
      }
    }
    turn_back(blended.data(), resized.view().stride, resized.row(y));
  }
  return resized;
}

}  // namespace segdino::detail
