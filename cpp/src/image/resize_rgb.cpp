#include "image/resize.hpp"
#include "image/resize_passes.hpp"
#include "image/resize_taps.hpp"
#include "image/vectors.hpp"

namespace segdino::detail {
namespace {

void copy_rgb(const CheckedView& view, std::uint8_t* out) {
  const std::size_t stride = 3 * static_cast<std::size_t>(view.region.width);
  for (int y = 0; y < view.region.height; ++y, out += stride) read_row_rgb(view, y, out);
}

}  // namespace

Pixels::Pixels(PixelFormat format, int width, int height)
    : view_{nullptr, round_up(pixel_bytes(format) * static_cast<std::size_t>(width)),
            nullptr, 0,
            format,  {0, 0, width, height}},
      bytes_(view_.stride * round_up(static_cast<std::size_t>(height))) {
  view_.data = bytes_.data();
}

void resize_rgb(const CheckedView& view, int width, int height, ResizeFilter filter, std::uint8_t* out) {
  const int in_width = view.region.width;
  const int in_height = view.region.height;
  // As in Pillow, a pass that would change no size is left out.
  if (height == in_height) {
    copy_rgb(width == in_width ? view : resize_width(view, width, filter).view(), out);
  } else if (width == in_width) {
    copy_rgb(resize_height(view, height, filter).view(), out);
  } else if (is_height_first(in_width, in_height, width, height)) {
    const Pixels resized = resize_height(view, height, filter);
    copy_rgb(resize_width(resized.view(), width, filter).view(), out);
  } else {
    const Pixels resized = resize_width(view, width, filter);
    copy_rgb(resize_height(resized.view(), height, filter).view(), out);
  }
}

}  // namespace segdino::detail
