/// Image files for the example programs: the library itself reads none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace example {

struct RgbImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;  // [height][width][3]
};

/// 8 bits, turned upright where a PNG or JPEG says how: as `segdino-deploy predict` reads it. Grey and palette images
/// are converted, alpha is dropped; 16-bit images are refused, since how to window them is the user's decision. PNG and
/// JPEG, with OpenCV more.
///
/// PNG gives the same pixels everywhere. JPEG does where it is decoded by libjpeg-turbo, as by Pillow and OpenCV; stb,
/// which is used where there is no OpenCV, differs from it by a few grey levels.
///
/// segdino::InputError: no such file, not an image.
RgbImage read_image(const std::filesystem::path& path);

/// What decodes them, with its version where it has one: "OpenCV 4.6.0" or "stb".
const char* codec_name();

/// uint8 [height][width] as a grey PNG, written whole or not at all. segdino::InputError where it cannot be written.
void write_png(const std::filesystem::path& path, const std::vector<std::uint8_t>& pixels, int width, int height);

}  // namespace example
