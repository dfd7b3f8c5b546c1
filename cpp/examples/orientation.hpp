/// Photos say in their EXIF data how the camera was held; programs that do not look see them lying on a side.
#pragma once

#include <cstdint>
#include <vector>

#include "image_file.hpp"

namespace example {

/// 1 (upright) to 8, of a JPEG or PNG file's content. 1 where nothing is said.
int exif_orientation(const std::vector<std::uint8_t>& content);

RgbImage upright(RgbImage image, int orientation);

}  // namespace example
