/// Resizing as Pillow does it, bit for bit: what training saw is what the engine must see.
///
/// Meant is Pillow 13 on x86-64. Older ones begin with the width where 13 begins with the height (see is_height_first),
/// and a Pillow whose compiler fuses multiplications and additions may round the last bit of a float otherwise.
#pragma once

#include <cstdint>

#include "bundle/manifest.hpp"
#include "image/view.hpp"

namespace segdino::detail {

/// The view's region to RGB, uint8 [height][width][3] at `out`. Antialiased, aspect ratio not kept; a region that has
/// that size already is copied, as Pillow does. Equal to PIL.Image.resize((width, height), filter) of an RGB image.
void resize_rgb(const CheckedView& view, int width, int height, ResizeFilter filter, std::uint8_t* out);

/// uint8 [in_height][in_width] to [height][width] with nearest neighbour: PIL.Image.resize(..., NEAREST) of mode L.
void resize_mask(const std::uint8_t* mask, int in_width, int in_height, int width, int height, std::uint8_t* out);

/// float [in_height][in_width] to [height][width], bilinear and antialiased: PIL.Image.resize(..., BILINEAR) of mode F.
void resize_plane(const float* plane, int in_width, int in_height, int width, int height, float* out);

}  // namespace segdino::detail
