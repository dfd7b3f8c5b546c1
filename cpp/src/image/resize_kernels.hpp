/// The inner loops of resizing.
#pragma once

#include "image/vectors.hpp"

namespace segdino::detail {

/// For each of kLanes bytes: the sum of weights[t] * in[t * stride + lane] over `count` taps, rounded from units of
/// 2^-kWeightBits and clipped to 0 to 255, to out[lane].
using Blend = void (*)(const std::uint8_t* in, std::size_t stride, const std::int32_t* weights, int count,
                       std::uint8_t* out);

const Variants<Blend>& blends();

/// kLanes rows of kLanes bytes each to columns: rows[i][j] to out[j * stride + i].
void transpose(const std::uint8_t* const* rows, std::uint8_t* out, std::size_t stride);

}  // namespace segdino::detail
