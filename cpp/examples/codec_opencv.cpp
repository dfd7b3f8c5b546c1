#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "codec.hpp"

namespace example {

Decoded decode(const Bytes& content) try {
  const cv::Mat bgr = cv::imdecode(content, cv::IMREAD_COLOR | cv::IMREAD_ANYDEPTH | cv::IMREAD_IGNORE_ORIENTATION);
  if (bgr.empty()) return {{}, "not an image that can be read"};
  if (bgr.depth() != CV_8U) return {{}, kMoreThanEightBits};
  Decoded result;
  RgbImage& image = result.image;
  image.width = bgr.cols;
  image.height = bgr.rows;
  image.pixels.resize(bgr.total() * 3);
  cv::Mat rgb(bgr.rows, bgr.cols, CV_8UC3, image.pixels.data());
  cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
  return result;
} catch (const cv::Exception&) {
  return {{}, "damaged image, or too many pixels for one image"};
}

const char* codec_name() { return "OpenCV " CV_VERSION; }

Bytes encode_png(const Bytes& pixels, int width, int height) {
  const cv::Mat grey(height, width, CV_8UC1, const_cast<std::uint8_t*>(pixels.data()));
  Bytes png;
  cv::imencode(".png", grey, png);
  return png;
}

}  // namespace example
