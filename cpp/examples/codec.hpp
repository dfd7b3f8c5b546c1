/// Pixels from and to the bytes of an image file, by the library that was found: OpenCV or stb.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image_file.hpp"

namespace example {

using Bytes = std::vector<std::uint8_t>;

struct Decoded {
  RgbImage image;       // as stored, not yet turned upright
  std::string problem;  // empty: none
};

constexpr const char* kMoreThanEightBits = "16-bit pixels; convert to 8-bit as for training, then retry";

Decoded decode(const Bytes& content);

/// uint8 [height][width].
Bytes encode_png(const Bytes& pixels, int width, int height);

}  // namespace example
