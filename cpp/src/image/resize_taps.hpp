/// Which source pixels make one output pixel, and with which weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bundle/manifest.hpp"

namespace segdino::detail {

/// Bits behind the point of a weight: 32, less 8 of the pixel and 2 for the sign and for sums outside 0 to 1.
constexpr int kWeightBits = 32 - 8 - 2;

/// Of one output pixel, along one axis.
struct Window {
  int first = 0;  // source pixel
  int count = 0;
  std::size_t weights = 0;  // where its weights begin in Taps::weights
};

/// Of one axis: every output pixel is the sum of its window's source pixels, times its weights.
template <typename Weight>
struct Taps {
  std::vector<Window> windows;  // [out]; neither `first` nor `first + count` ever falls
  std::vector<Weight> weights;
};

/// For `in` pixels to `out` pixels, both at least 1. The weights of a window sum up to 1.
Taps<double> make_taps(ResizeFilter filter, int in, int out);

/// The same in units of 2^-kWeightBits, rounded to the nearest, halves away from zero.
Taps<std::int32_t> make_fixed_taps(ResizeFilter filter, int in, int out);

/// Whether columns get their new height before rows get their new width. Between the two passes values are rounded, so
/// that the order shows. Since version 13 Pillow begins with the height where more than twice as many rows as columns
/// go; before, it always began with the width.
bool is_height_first(int in_width, int in_height, int width, int height);

}  // namespace segdino::detail
