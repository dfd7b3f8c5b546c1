/// The caller's pixels: checked, and read as rows of RGB.
#pragma once

#include <cstdint>
#include <string>

#include "segdino/segdino.hpp"

namespace segdino::detail {

/// A view that was checked: all defaults filled in, the region always there.
struct CheckedView {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  const std::uint8_t* chroma = nullptr;
  std::size_t chroma_stride = 0;
  PixelFormat format = PixelFormat::rgb;
  Region region;
};

/// InputError, with what was expected and what came: null data, sizes below 1 or above 65535, a stride that is too
/// small for a row or makes the image larger than the address space, an unknown format, a region outside the image,
/// odd width or height with nv12. `name`: of the image, in messages.
CheckedView check_view(const ImageView& image, const std::string& name = "image");

/// Bytes of one pixel, in a format that check_view takes; of nv12 in its first plane.
std::size_t pixel_bytes(PixelFormat format);

/// The first pixel of the region's row `y` (0: its first one).
const std::uint8_t* row_start(const CheckedView& view, int y);

/// Row `y` of the region (0: its first) as RGB: region.width * 3 bytes.
void read_row_rgb(const CheckedView& view, int y, std::uint8_t* rgb);

}  // namespace segdino::detail
