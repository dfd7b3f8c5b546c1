/// Views, their rows and all resizing, for tests/cpp/test_image_views.py and test_resizing.py.

#include <string>

#include "image/nv12.hpp"
#include "image/resize.hpp"
#include "image/resize_kernels.hpp"
#include "image/view.hpp"
#include "probe_error.hpp"

using segdino::detail::CheckedView;
using segdino::detail::ResizeFilter;

namespace {

/// segdino::ImageView for ctypes.
struct ProbeView {
  const std::uint8_t* data;
  int width, height;
  std::size_t stride;
  int format;
  const std::uint8_t* chroma;
  std::size_t chroma_stride;
  int has_region;
  segdino::Region region;
};

/// What the last refused view's error compared.
thread_local std::string expected, got;

CheckedView check(const ProbeView& view) {
  segdino::ImageView image = segdino::ImageView::rgb(view.data, view.width, view.height);
  image.stride = view.stride;
  image.format = static_cast<segdino::PixelFormat>(view.format);
  image.chroma = view.chroma;
  image.chroma_stride = view.chroma_stride;
  if (view.has_region != 0) image.region = view.region;
  try {
    return segdino::detail::check_view(image);
  } catch (const segdino::InputError& error) {
    expected = error.expected();
    got = error.got();
    throw;
  }
}

}  // namespace

extern "C" {

SEGDINO_API const char* probe_view_expected() { return expected.c_str(); }
SEGDINO_API const char* probe_view_got() { return got.c_str(); }

/// `offsets`: of the chroma plane from the first one's start, and both strides. `region`: x, y, width, height.
SEGDINO_API int probe_check_view(const ProbeView* view, std::size_t* offsets, int* region) {
  return probe([&] {
    const CheckedView checked = check(*view);
    offsets[0] = checked.chroma == nullptr ? 0 : static_cast<std::size_t>(checked.chroma - checked.data);
    offsets[1] = checked.stride;
    offsets[2] = checked.chroma_stride;
    region[0] = checked.region.x;
    region[1] = checked.region.y;
    region[2] = checked.region.width;
    region[3] = checked.region.height;
  });
}

/// All rows of the view's region.
SEGDINO_API int probe_read_rows(const ProbeView* view, std::uint8_t* rgb) {
  return probe([&] {
    const CheckedView checked = check(*view);
    const auto stride = static_cast<std::size_t>(checked.region.width) * 3;
    for (int y = 0; y < checked.region.height; ++y, rgb += stride) segdino::detail::read_row_rgb(checked, y, rgb);
  });
}

SEGDINO_API int probe_resize_rgb(const ProbeView* view, int width, int height, int is_bilinear, std::uint8_t* out) {
  return probe([&] {
    const ResizeFilter filter = is_bilinear != 0 ? ResizeFilter::bilinear : ResizeFilter::bicubic;
    segdino::detail::resize_rgb(check(*view), width, height, filter, out);
  });
}

SEGDINO_API int probe_resize_mask(const std::uint8_t* mask, int in_width, int in_height, int width, int height,
                                  std::uint8_t* out) {
  return probe([&] { segdino::detail::resize_mask(mask, in_width, in_height, width, height, out); });
}

SEGDINO_API int probe_resize_plane(const float* plane, int in_width, int in_height, int width, int height, float* out) {
  return probe([&] { segdino::detail::resize_plane(plane, in_width, in_height, width, height, out); });
}

/// How many variants of the kernels this processor can run.
SEGDINO_API int probe_kernel_variants() { return segdino::detail::blends().count; }

SEGDINO_API void probe_blend(int variant, const std::uint8_t* in, std::size_t stride, const std::int32_t* weights,
                             int count, std::uint8_t* out) {
  segdino::detail::blends().items[variant](in, stride, weights, count, out);
}

SEGDINO_API void probe_nv12_to_planes(int variant, const std::uint8_t* luma, const std::uint8_t* chroma,
                                      std::size_t count, std::uint8_t* planes) {
  segdino::detail::nv12_to_planes().items[variant](luma, chroma, count, planes, count * segdino::detail::kLanes);
}
}
