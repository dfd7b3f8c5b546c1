#include <memory>
#include <new>

#include "codec.hpp"

#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_STDIO
#define STBI_FAILURE_USERMSG
#include <stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

namespace example {

Decoded decode(const Bytes& content) {
  const int size = static_cast<int>(content.size());
  if (static_cast<std::size_t>(size) != content.size()) return {{}, "too large for one image; cut it into tiles"};
  if (stbi_is_16_bit_from_memory(content.data(), size) || stbi_is_hdr_from_memory(content.data(), size)) {
    return {{}, kMoreThanEightBits};
  }
  Decoded result;
  RgbImage& image = result.image;
  int channels = 0;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(content.data(), size, &image.width, &image.height, &channels, 3), stbi_image_free);
  if (!pixels) {
    return {{},
            std::string("not an image that can be read (") + stbi_failure_reason() +
                "): stb reads PNG, JPEG and BMP; convert it, or build with OpenCV, which reads TIFF and WebP, too"};
  }
  const auto count = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3;
  image.pixels.assign(pixels.get(), pixels.get() + count);
  return result;
}

const char* codec_name() { return "stb"; }

Bytes encode_png(const Bytes& pixels, int width, int height) {
  Bytes png;
  const auto append = [](void* to, void* data, int size) {
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    static_cast<Bytes*>(to)->insert(static_cast<Bytes*>(to)->end(), bytes, bytes + size);
  };
  if (!stbi_write_png_to_func(append, &png, width, height, 1, pixels.data(), width)) throw std::bad_alloc();
  return png;
}

}  // namespace example
