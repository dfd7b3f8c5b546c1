#include "image/resize_kernels.hpp"

#include <cstring>

#include "image/resize_taps.hpp"

namespace segdino::detail {
namespace {

using LongWords = std::uint64_t __attribute__((vector_size(16)));

/// Sums to 8 bits each, into the byte of every word that is `shift` bits from its right.
template <typename Vectors>
SEGDINO_INLINE void round(const typename Vectors::Words& sums, int shift, typename Vectors::Words* packed) {
  constexpr std::uint32_t kHalf = 1u << (kWeightBits - 1);
  pack<Vectors>(reinterpret_cast<typename Vectors::SignedWords>(sums + kHalf) >> kWeightBits, shift, packed);
}

/// See Blend. A word holds the pixels b0 to b3. For every tap it is multiplied as it is, and shifted by one, two and
/// three pixels, without taking the pixels apart first: as (word >> 8) * 256 is the word without b0, the sums of single
/// pixels follow from these four in the end. All of it modulo 2^32, where the sums of single pixels fit.
template <typename Vectors>
SEGDINO_INLINE void blend(const std::uint8_t* in, std::size_t stride, const std::int32_t* weights, int count,
                          std::uint8_t* out) {
  using Words = typename Vectors::Words;
  for (std::size_t lane = 0; lane < kLanes; lane += sizeof(Words)) {
    Words sum0 = {}, sum1 = {}, sum2 = {}, sum3 = {};
    const std::uint8_t* next = in + lane;
    for (int tap = 0; tap < count; ++tap, next += stride) {
      const auto weight = static_cast<std::uint32_t>(weights[tap]);
      Words word;
      std::memcpy(&word, next, sizeof word);
      sum0 += word * weight;
      sum1 += (word >> 8) * weight;
      sum2 += (word >> 16) * weight;
      sum3 += (word >> 24) * weight;
    }
    Words packed = {};
    round<Vectors>(sum0 - (sum1 << 8), 0, &packed);
    round<Vectors>(sum1 - (sum2 << 8), 8, &packed);
    round<Vectors>(sum2 - (sum3 << 8), 16, &packed);
    round<Vectors>(sum3, 24, &packed);
    std::memcpy(out + lane, &packed, sizeof packed);
  }
}

void blend_plain(const std::uint8_t* in, std::size_t stride, const std::int32_t* weights, int count,
                 std::uint8_t* out) {
  blend<Vectors16>(in, stride, weights, count, out);
}

#if SEGDINO_X86
__attribute__((target("sse4.1"))) void blend_sse41(const std::uint8_t* in, std::size_t stride,
                                                   const std::int32_t* weights, int count, std::uint8_t* out) {
  blend<Vectors16>(in, stride, weights, count, out);
}

__attribute__((target("avx2"))) void blend_avx2(const std::uint8_t* in, std::size_t stride, const std::int32_t* weights,
                                                int count, std::uint8_t* out) {
  blend<Vectors32>(in, stride, weights, count, out);
}
#endif

/// Of every 2 * `bits` bits, the upper half of `first` and the lower half of `second` change places. `lower`: a mask of
/// the lower halves.
SEGDINO_INLINE void exchange(LongWords* first, LongWords* second, int bits, std::uint64_t lower) {
  const LongWords difference = ((*first >> bits) ^ *second) & lower;
  *second ^= difference;
  *first ^= difference << bits;
}

/// 8 rows of 16 bytes to 16 rows of 8 bytes. In each of the two squares, halves of four bytes change places, then
/// halves of two bytes in its quarters, then single bytes. The first byte in memory is a word's lowest one.
SEGDINO_INLINE void transpose_squares(const std::uint8_t* const* rows, std::size_t offset, std::uint8_t* out,
                                      std::size_t stride) {
  const auto load = [&](int i) {
    LongWords row;
    std::memcpy(&row, rows[i] + offset, sizeof row);
    return row;
  };
  LongWords row0 = load(0), row1 = load(1), row2 = load(2), row3 = load(3);
  LongWords row4 = load(4), row5 = load(5), row6 = load(6), row7 = load(7);
  exchange(&row0, &row4, 32, 0x00000000FFFFFFFF);
  exchange(&row1, &row5, 32, 0x00000000FFFFFFFF);
  exchange(&row2, &row6, 32, 0x00000000FFFFFFFF);
  exchange(&row3, &row7, 32, 0x00000000FFFFFFFF);
  exchange(&row0, &row2, 16, 0x0000FFFF0000FFFF);
  exchange(&row1, &row3, 16, 0x0000FFFF0000FFFF);
  exchange(&row4, &row6, 16, 0x0000FFFF0000FFFF);
  exchange(&row5, &row7, 16, 0x0000FFFF0000FFFF);
  exchange(&row0, &row1, 8, 0x00FF00FF00FF00FF);
  exchange(&row2, &row3, 8, 0x00FF00FF00FF00FF);
  exchange(&row4, &row5, 8, 0x00FF00FF00FF00FF);
  exchange(&row6, &row7, 8, 0x00FF00FF00FF00FF);
  const auto store = [&](std::size_t i, const LongWords& columns) {
    const std::uint64_t left = columns[0], right = columns[1];
    std::memcpy(out + i * stride, &left, sizeof left);
    std::memcpy(out + (i + 8) * stride, &right, sizeof right);
  };
  store(0, row0);
  store(1, row1);
  store(2, row2);
  store(3, row3);
  store(4, row4);
  store(5, row5);
  store(6, row6);
  store(7, row7);
}

}  // namespace

const Variants<Blend>& blends() {
#if SEGDINO_X86
  static const Variants<Blend> found = find_variants<Blend>(blend_avx2, blend_sse41, blend_plain);
#else
  static const Variants<Blend> found = {{blend_plain}, 1};
#endif
  return found;
}

void transpose(const std::uint8_t* const* rows, std::uint8_t* out, std::size_t stride) {
  for (std::size_t column = 0; column < kLanes; column += sizeof(LongWords)) {
    for (std::size_t row = 0; row < kLanes; row += 8) {
      transpose_squares(rows + row, column, out + column * stride + row, stride);
    }
  }
}

}  // namespace segdino::detail
