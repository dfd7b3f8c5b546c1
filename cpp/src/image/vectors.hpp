/// Vectors of the compiler's own (GCC and Clang, on every architecture): no intrinsics, and no optimisation level or
/// guess of the compiler's on which it would depend whether loops become vectors.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__GNUC__)
#error "segdino needs GCC or Clang, whose vectors it uses"
#elif __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "segdino needs a little-endian processor: it takes bytes out of words by shifting"
#endif

/// Of functions on vectors: they become part of their caller, and are compiled for the processor that it is for.
#define SEGDINO_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__) || defined(__i386__)
#define SEGDINO_X86 1
#else
#define SEGDINO_X86 0
#endif

namespace segdino::detail {

/// Bytes that are worked on side by side.
constexpr std::size_t kLanes = 32;

/// The next multiple of kLanes.
constexpr std::size_t round_up(std::size_t bytes) { return (bytes + kLanes - 1) / kLanes * kLanes; }

/// Bytes are loaded four at a time, as words, and reached by shifting: no vector ever changes its type.
struct Vectors16 {
  using Words = std::uint32_t __attribute__((vector_size(16)));
  using SignedWords = std::int32_t __attribute__((vector_size(16)));
};

struct Vectors32 {
  using Words = std::uint32_t __attribute__((vector_size(32)));
  using SignedWords = std::int32_t __attribute__((vector_size(32)));
};

/// Writes values, clipped to 0 to 255, into the byte of every word that is `shift` bits from its right.
template <typename Vectors>
SEGDINO_INLINE void pack(const typename Vectors::SignedWords& values, int shift, typename Vectors::Words* packed) {
  const auto not_negative = values & ~(values >> 31);
  const auto clipped = not_negative | ((255 - not_negative) >> 31);  // above 255: all bits set
  *packed |= (reinterpret_cast<typename Vectors::Words>(clipped) & 255u) << shift;
}

/// The same function for several processors: those that this one can run, the fastest one first.
template <typename Function>
struct Variants {
  Function items[3] = {};
  int count = 0;
};

#if SEGDINO_X86
/// SSE4.1, as every x86-64 processor's own vectors cannot be multiplied word by word.
template <typename Function>
Variants<Function> find_variants(Function avx2, Function sse41, Function plain) {
  Variants<Function> found;
  if (__builtin_cpu_supports("avx2")) found.items[found.count++] = avx2;
  if (__builtin_cpu_supports("sse4.1")) found.items[found.count++] = sse41;
  found.items[found.count++] = plain;
  return found;
}
#endif

}  // namespace segdino::detail
