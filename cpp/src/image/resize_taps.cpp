#include "image/resize_taps.hpp"

#include <algorithm>
#include <utility>

namespace segdino::detail {
namespace {

// The order of the operations below is Pillow's, as another one rounds differently; so does a fused multiply-add, which
// is why this file is compiled with -ffp-contract=off.

/// Cubic convolution with a = -1/2 (Keys 1981, "Cubic convolution interpolation for digital image processing", eq. 15).
double bicubic(double x) {
  constexpr double a = -0.5;
  const double distance = x < 0.0 ? -x : x;
  if (distance < 1.0) return ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1;
  if (distance < 2.0) return (((distance - 5) * distance + 8) * distance - 4) * a;
  return 0.0;
}

/// A triangle of width 2.
double bilinear(double x) {
  const double distance = x < 0.0 ? -x : x;
  return distance < 1.0 ? 1.0 - distance : 0.0;
}

}  // namespace

Taps<double> make_taps(ResizeFilter filter, int in, int out) {
  const auto weight_at = filter == ResizeFilter::bicubic ? bicubic : bilinear;
  const double scale = static_cast<double>(in) / out;
  // Where pixels get fewer, the filter gets wider, so that no source pixel is left out: this is the antialiasing.
  const double filter_scale = std::max(scale, 1.0);
  const double support = (filter == ResizeFilter::bicubic ? 2.0 : 1.0) * filter_scale;
  const double step = 1.0 / filter_scale;

  Taps<double> taps;
  taps.windows.reserve(static_cast<std::size_t>(out));
  for (int index = 0; index < out; ++index) {
    const double center = (index + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), in);
    taps.windows.push_back({first, end - first, taps.weights.size()});
    double sum = 0.0;
    for (int x = first; x < end; ++x) {
      const double weight = weight_at((x - center + 0.5) * step);
      taps.weights.push_back(weight);
      sum += weight;
    }
    for (std::size_t i = taps.windows.back().weights; i < taps.weights.size(); ++i) taps.weights[i] /= sum;
  }
  return taps;
}

Taps<std::int32_t> make_fixed_taps(ResizeFilter filter, int in, int out) {
  Taps<double> taps = make_taps(filter, in, out);
  std::vector<std::int32_t> weights;
  weights.reserve(taps.weights.size());
  for (const double weight : taps.weights) {
    const double scaled = weight * (1 << kWeightBits);
    weights.push_back(static_cast<std::int32_t>(weight < 0 ? -0.5 + scaled : 0.5 + scaled));
  }
  return {std::move(taps.windows), std::move(weights)};
}

bool is_height_first(int in_width, int in_height, int width, int height) {
  return in_height - height > 2 * std::max(in_width - width, 0);
}

}  // namespace segdino::detail
