/// libFuzzer: any view of memory that holds exactly the bytes of its region. What check_view accepts must be read
/// without touching another byte.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "image/resize.hpp"
#include "image/view.hpp"

using namespace segdino::detail;
using segdino::ImageView;
using segdino::PixelFormat;
using segdino::Region;

namespace {

constexpr std::uint64_t kLargestBuffer = 1 << 15;            // bytes
constexpr std::uint64_t kFarthest = std::uint64_t{1} << 40;  // of a region's first byte from the image's: an address
constexpr int kLargestSide = 48;                             // of the resized image

int any_side(FuzzedDataProvider& input) {
  if (input.ConsumeBool()) return input.ConsumeIntegralInRange(1, 40);
  if (input.ConsumeBool()) return input.ConsumeIntegralInRange(65500, 65600);
  return input.ConsumeIntegral<int>();
}

std::size_t any_stride(FuzzedDataProvider& input, int width) {
  if (input.ConsumeBool()) return 0;
  const auto row = static_cast<std::size_t>(static_cast<unsigned>(width)) * 4;
  if (input.ConsumeBool()) return row + input.ConsumeIntegralInRange<std::size_t>(0, 9);
  return input.ConsumeIntegral<std::size_t>();
}

/// Mostly inside of `length`, often at its ends or just beyond them.
std::pair<int, int> any_part(FuzzedDataProvider& input, int length) {
  if (length < 1 || length > 65535 || input.ConsumeIntegralInRange(0, 7) == 0) {
    const int start = input.ConsumeIntegral<int>();
    return {start, input.ConsumeIntegral<int>()};
  }
  const int start = input.ConsumeIntegralInRange(-1, length);
  return {start, input.ConsumeIntegralInRange(0, length - start + 1)};
}

Region any_region(FuzzedDataProvider& input, int width, int height) {
  const auto [x, region_width] = any_part(input, width);
  const auto [y, region_height] = any_part(input, height);
  return {x, y, region_width, region_height};
}

void require(bool is_fine) {
  if (!is_fine) std::abort();
}

/// What everything else relies on.
void require_sound(const CheckedView& view, const ImageView& image) {
  const Region& region = view.region;
  require(region.x >= 0 && region.width >= 1 && region.x + region.width <= image.width);
  require(region.y >= 0 && region.height >= 1 && region.y + region.height <= image.height);
  require(view.stride >= static_cast<std::size_t>(image.width) * pixel_bytes(view.format));
  if (view.format == PixelFormat::nv12) require(view.chroma_stride >= static_cast<std::size_t>(image.width));
}

/// Bytes of a plane that a region has, from the plane's first byte on.
struct Span {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

std::uint64_t offset_of(int line, std::size_t stride, int column, std::size_t pixel) {
  return static_cast<std::uint64_t>(line) * stride + static_cast<std::uint64_t>(column) * pixel;
}

Span first_plane(const CheckedView& view) {
  const Region& region = view.region;
  const std::size_t pixel = pixel_bytes(view.format);
  return {offset_of(region.y, view.stride, region.x, pixel),
          offset_of(region.y + region.height - 1, view.stride, region.x + region.width, pixel)};
}

/// Of nv12: pairs of bytes for two columns and two lines.
Span chroma_plane(const CheckedView& view) {
  const Region& region = view.region;
  return {offset_of(region.y / 2, view.chroma_stride, region.x / 2, 2),
          offset_of((region.y + region.height - 1) / 2, view.chroma_stride, (region.x + region.width + 1) / 2, 2)};
}

/// A plane whose span alone is there: everything before and behind it belongs to nobody.
class Plane {
 public:
  Plane(const Span& span, FuzzedDataProvider& input) : size_(span.end - span.begin) {
    if (span.begin > kFarthest || size_ > kLargestBuffer) return;
    bytes_.reset(new std::uint8_t[size_]);
    const std::uint8_t seed = input.ConsumeIntegral<std::uint8_t>();
    for (std::uint64_t i = 0; i < size_; ++i) bytes_[i] = static_cast<std::uint8_t>(i * 37 + seed);
    start_ = reinterpret_cast<std::uintptr_t>(bytes_.get()) - span.begin;
  }

  explicit operator bool() const { return bytes_ != nullptr; }
  const std::uint8_t* data() const { return reinterpret_cast<const std::uint8_t*>(start_); }

 private:
  std::uint64_t size_;
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::uintptr_t start_ = 0;
};

void read_everything(const CheckedView& view, FuzzedDataProvider& input) {
  const auto bytes = [](int width, int height) {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
  };
  const std::unique_ptr<std::uint8_t[]> row(new std::uint8_t[bytes(view.region.width, 1)]);
  for (int y = 0; y < view.region.height; ++y) read_row_rgb(view, y, row.get());
  const int width = input.ConsumeIntegralInRange(1, kLargestSide);
  const int height = input.ConsumeIntegralInRange(1, kLargestSide);
  const std::unique_ptr<std::uint8_t[]> out(new std::uint8_t[bytes(width, height)]);
  for (const ResizeFilter filter : {ResizeFilter::bicubic, ResizeFilter::bilinear}) {
    resize_rgb(view, width, height, filter, out.get());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const std::uint8_t nowhere = 0;
  ImageView image;
  image.data = input.ConsumeIntegralInRange(0, 15) == 0 ? nullptr : &nowhere;
  image.format = static_cast<PixelFormat>(input.ConsumeIntegralInRange(-1, 6));
  image.width = any_side(input);
  image.height = any_side(input);
  image.stride = any_stride(input, image.width);
  const bool has_chroma = input.ConsumeBool();
  image.chroma = has_chroma ? &nowhere : nullptr;
  image.chroma_stride = any_stride(input, image.width);
  if (input.ConsumeBool()) image.region = any_region(input, image.width, image.height);
  try {
    const CheckedView view = check_view(image);
    require_sound(view, image);
    Span span = first_plane(view), chroma_span;
    if (view.format == PixelFormat::nv12) {
      chroma_span = chroma_plane(view);
      if (!has_chroma) span.end = static_cast<std::uint64_t>(view.chroma - view.data) + chroma_span.end;
    }
    const Plane plane(span, input);
    if (!plane) return 0;
    const Plane chroma(has_chroma ? chroma_span : Span{}, input);
    if (!chroma) return 0;
    image.data = plane.data();
    if (has_chroma) image.chroma = chroma.data();
    read_everything(check_view(image), input);
  } catch (const segdino::InputError& error) {
    require(!error.expected().empty() && !error.got().empty());
  }
  return 0;
}
