/// segment_image BUNDLE IMAGE MASK.png [ENGINE]; segment_image --help
///
/// The mask that `segdino-deploy predict` writes.
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "image_file.hpp"
#include "segdino/segdino.hpp"

namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage = "usage: segment_image BUNDLE IMAGE MASK.png [ENGINE]";
constexpr const char* kHelp = R"(

Writes what segdino-deploy predict writes: the mask at the image's size, class indices, or 0 and 255 for one class.
Of several heads each has a file: MASK.<head>.png. ENGINE is a name such as openvino-int8; without it, the first engine
that runs here.

Exit codes: 0 done, 1 a check failed, 2 wrong use or input, 3 something is missing here.
)";

void segment(const fs::path& bundle, const fs::path& file, const fs::path& mask_file, const std::string& engine) {
  if (mask_file.extension() != ".png") {
    throw segdino::InputError(mask_file.string() + ": masks are PNG files: name one that ends in .png");
  }
  const example::RgbImage image = example::read_image(file);

  segdino::Options options;
  options.engine = engine;
  segdino::Segmenter segmenter = segdino::Segmenter::open(bundle, options);
  const auto view = segdino::ImageView::rgb(image.pixels.data(), image.width, image.height);
  segdino::Result result = segmenter.analyse(view);

  for (std::size_t i = 0; i < result.heads.size(); ++i) {
    auto& [head, mask, probability, logits] = result.heads[i];
    if (segmenter.info().heads[i].num_classes == 1) {
      for (std::uint8_t& pixel : mask.pixels) pixel = pixel ? 255 : 0;
    }
    fs::path target = mask_file;
    if (!head.empty()) target.replace_extension("." + head + ".png");
    example::write_png(target, mask.pixels, mask.width, mask.height);
  }
}

int failed(const char* message, int exit_code) {
  std::cerr << "error: " << message << "\n";
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    std::cout << kUsage << kHelp;
    return 0;
  }
  if (argc != 4 && argc != 5) return failed((std::string(kUsage) + "; see --help").c_str(), 2);
  try {
    segment(argv[1], argv[2], argv[3], argc == 5 ? argv[4] : "");
    return 0;
  } catch (const segdino::CheckFailed& error) {
    return failed(error.what(), 1);
  } catch (const segdino::MissingComponent& error) {
    return failed(error.what(), 3);
  } catch (const segdino::Error& error) {
    return failed(error.what(), 2);
  } catch (const std::bad_alloc&) {
    return failed("out of memory: free some, or use a smaller image", 2);
  } catch (const std::exception& error) {
    return failed(error.what(), 1);
  }
}
