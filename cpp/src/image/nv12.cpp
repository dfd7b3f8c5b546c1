#include "image/nv12.hpp"

#include <cstring>

namespace segdino::detail {
namespace {

// ITU-R BT.601 for luma from 16 to 235 and chroma from 16 to 240, in units of 2^-20 as OpenCV rounds the factors.
constexpr int kBits = 20;
constexpr int kHalf = 1 << (kBits - 1);
constexpr int kLuma = 1220542;
constexpr int kRedOfV = 1673527;
constexpr int kGreenOfV = -852492;
constexpr int kGreenOfU = -409993;
constexpr int kBlueOfU = 2116026;

/// See Nv12ToPlanes. A word of luma holds four pixels; the word of chroma at its place holds their two pairs.
template <typename Vectors>
SEGDINO_INLINE void to_planes(const std::uint8_t* luma, const std::uint8_t* chroma, std::size_t count,
                              std::uint8_t* planes, std::size_t plane) {
  using Words = typename Vectors::Words;
  using SignedWords = typename Vectors::SignedWords;
  for (std::size_t lane = 0; lane < count * kLanes; lane += sizeof(Words)) {
    SignedWords pixels, pairs;
    std::memcpy(&pixels, luma + lane, sizeof pixels);
    std::memcpy(&pairs, chroma + lane, sizeof pairs);
    Words red = {}, green = {}, blue = {};
    for (int half = 0; half < 32; half += 16) {
      const SignedWords u = ((pairs >> half) & 255) - 128;
      const SignedWords v = ((pairs >> (half + 8)) & 255) - 128;
      const SignedWords add_red = kRedOfV * v + kHalf;
      const SignedWords add_green = kGreenOfV * v + kGreenOfU * u + kHalf;
      const SignedWords add_blue = kBlueOfU * u + kHalf;
      for (int shift = half; shift < half + 16; shift += 8) {
        const SignedWords above_black = ((pixels >> shift) & 255) - 16;
        const SignedWords grey = (above_black & ~(above_black >> 31)) * kLuma;
        pack<Vectors>((grey + add_red) >> kBits, shift, &red);
        pack<Vectors>((grey + add_green) >> kBits, shift, &green);
        pack<Vectors>((grey + add_blue) >> kBits, shift, &blue);
      }
    }
    std::memcpy(planes + lane, &red, sizeof red);
    std::memcpy(planes + plane + lane, &green, sizeof green);
    std::memcpy(planes + 2 * plane + lane, &blue, sizeof blue);
  }
}

void to_planes_plain(const std::uint8_t* luma, const std::uint8_t* chroma, std::size_t count, std::uint8_t* planes,
                     std::size_t plane) {
  to_planes<Vectors16>(luma, chroma, count, planes, plane);
}

#if SEGDINO_X86
__attribute__((target("sse4.1"))) void to_planes_sse41(const std::uint8_t* luma, const std::uint8_t* chroma,
                                                       std::size_t count, std::uint8_t* planes, std::size_t plane) {
  to_planes<Vectors16>(luma, chroma, count, planes, plane);
}

__attribute__((target("avx2"))) void to_planes_avx2(const std::uint8_t* luma, const std::uint8_t* chroma,
                                                    std::size_t count, std::uint8_t* planes, std::size_t plane) {
  to_planes<Vectors32>(luma, chroma, count, planes, plane);
}
#endif

/// At most kLanes pixels from `x` on, the first of which may be the second one of a pair.
void convert_few(const std::uint8_t* luma, const std::uint8_t* chroma, std::size_t x, std::size_t width,
                 std::uint8_t* planes, std::size_t plane) {
  const std::size_t odd = x % 2;
  std::uint8_t pixels[kLanes] = {}, pairs[kLanes] = {}, colours[3 * kLanes];
  std::memcpy(pixels + odd, luma + x, width);
  std::memcpy(pairs, chroma + x - odd, (odd + width + 1) / 2 * 2);
  nv12_to_planes().items[0](pixels, pairs, 1, colours, kLanes);
  for (std::size_t colour = 0; colour < 3; ++colour) {
    std::memcpy(planes + colour * plane, colours + colour * kLanes + odd, width);
  }
}

}  // namespace

const Variants<Nv12ToPlanes>& nv12_to_planes() {
#if SEGDINO_X86
  static const Variants<Nv12ToPlanes> found =
      find_variants<Nv12ToPlanes>(to_planes_avx2, to_planes_sse41, to_planes_plain);
#else
  static const Variants<Nv12ToPlanes> found = {{to_planes_plain}, 1};
#endif
  return found;
}

void nv12_row_to_planes(const CheckedView& view, int y, int x, int count, std::uint8_t* planes) {
  const auto line = static_cast<std::size_t>(view.region.y + y);
  const std::uint8_t* luma = view.data + line * view.stride;
  const std::uint8_t* chroma = view.chroma + line / 2 * view.chroma_stride;
  const auto plane = static_cast<std::size_t>(count);
  auto column = static_cast<std::size_t>(view.region.x + x);
  std::size_t left = plane;
  const auto advance = [&](std::size_t pixels) {
    column += pixels;
    left -= pixels;
    planes += pixels;
  };
  if (column % 2 == 1) {
    convert_few(luma, chroma, column, 1, planes, plane);
    advance(1);
  }
  nv12_to_planes().items[0](luma + column, chroma + column, left / kLanes, planes, plane);
  advance(left / kLanes * kLanes);
  if (left > 0) convert_few(luma, chroma, column, left, planes, plane);
}

}  // namespace segdino::detail
