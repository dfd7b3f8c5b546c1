/// segment_camera BUNDLE [SOURCE [VIDEO]]; segment_camera --help
#include <chrono>
#include <exception>
#include <iostream>
#include <opencv2/highgui.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <string>

#include "segdino/segdino.hpp"

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kUsage = "usage: segment_camera BUNDLE [SOURCE [VIDEO]]";
constexpr const char* kHelp = R"(

SOURCE: a camera's number (default 0), a video file, or a GStreamer pipeline that ends in appsink. Shows the overlay
until q is pressed, or writes it to VIDEO (.avi or .mp4). Frames per second go to stderr.
)";

cv::VideoCapture open_source(const std::string& source) {
  const bool is_number = !source.empty() && source.find_first_not_of("0123456789") == std::string::npos;
  cv::VideoCapture capture;
  if (is_number ? capture.open(std::stoi(source)) : capture.open(source)) return capture;
  throw segdino::InputError(source + ": no camera, video or pipeline that OpenCV opens");
}

/// Everything but class 0 in red, half transparent.
void draw_overlay(const segdino::Mask& mask, cv::Mat& frame) {
  for (int y = 0; y < frame.rows; ++y) {
    auto* pixel = frame.ptr<cv::Vec3b>(y);
    for (int x = 0; x < frame.cols; ++x) {
      if (mask.at(x, y)) pixel[x] = pixel[x] / 2 + cv::Vec3b(0, 0, 127);
    }
  }
}

/// Prints frames per second, once a second.
class Meter {
 public:
  void count(const segdino::Timings& timings) {
    ++frames_;
    const double seconds = std::chrono::duration<double>(Clock::now() - since_).count();
    if (seconds < 1) return;
    std::cerr << frames_ / seconds << " frames per second; the last one took " << timings.total_ms() << " ms\n";
    frames_ = 0;
    since_ = Clock::now();
  }

 private:
  int frames_ = 0;
  Clock::time_point since_ = Clock::now();
};

void run(const std::string& bundle, const std::string& source, const std::string& video) {
  segdino::Segmenter segmenter = segdino::Segmenter::open(bundle);
  cv::VideoCapture capture = open_source(source);
  cv::VideoWriter writer;
  Meter meter;
  cv::Mat frame;
  while (capture.read(frame)) {
    // The frame as OpenCV has it: BGR, rows perhaps padded. Nothing is copied.
    segdino::ImageView view{frame.data, frame.cols, frame.rows, frame.step, segdino::PixelFormat::bgr};
    draw_overlay(segmenter.segment(view), frame);
    meter.count(segmenter.timings());
    if (video.empty()) {
      cv::imshow("segdino", frame);
      if (cv::waitKey(1) == 'q') return;
      continue;
    }
    if (!writer.isOpened()) {
      const double fps = capture.get(cv::CAP_PROP_FPS);
      const int codec = cv::VideoWriter::fourcc('M', 'J', 'P', 'G');
      if (!writer.open(video, codec, fps > 0 ? fps : 30, frame.size())) {
        throw segdino::InputError(video + ": OpenCV cannot write it: name a file that ends in .avi");
      }
    }
    writer.write(frame);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--help") {
    std::cout << kUsage << kHelp;
    return 0;
  }
  if (argc < 2 || argc > 4) {
    std::cerr << "error: " << kUsage << "; see --help\n";
    return 2;
  }
  try {
    run(argv[1], argc > 2 ? argv[2] : "0", argc > 3 ? argv[3] : "");
    return 0;
  } catch (const segdino::MissingComponent& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 3;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
}
