/// nv12, as cameras give it, to RGB.
#pragma once

#include "image/vectors.hpp"
#include "image/view.hpp"

namespace segdino::detail {

/// `count` pixels of the region's row `y`, from its column `x` on, to `count` bytes of red, then of green, then of
/// blue: equal to OpenCV's COLOR_YUV2RGB_NV12. The region may begin at odd columns and rows. Nothing outside it is
/// read, but for the chroma pairs that its pixels share with their neighbours.
void nv12_row_to_planes(const CheckedView& view, int y, int x, int count, std::uint8_t* planes);

/// kLanes bytes of luma and as many of chroma (kLanes / 2 pairs) to as many of each colour, `plane` bytes apart;
/// `count` times, next to each other.
using Nv12ToPlanes = void (*)(const std::uint8_t* luma, const std::uint8_t* chroma, std::size_t count,
                              std::uint8_t* planes, std::size_t plane);

const Variants<Nv12ToPlanes>& nv12_to_planes();

}  // namespace segdino::detail
