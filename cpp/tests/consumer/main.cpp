// consumer BUNDLE WIDTH HEIGHT < RGB > MASK: raw bytes in and out; the version goes to stderr.
#include <cstdio>
#include <cstdlib>
#include <segdino/segdino.hpp>
#include <vector>

int main(int, char** argv) {
  std::fprintf(stderr, "%s\n", segdino::version());
  const int width = std::atoi(argv[2]);
  const int height = std::atoi(argv[3]);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  if (std::fread(pixels.data(), 1, pixels.size(), stdin) != pixels.size()) return 4;
  try {
    segdino::Segmenter segmenter = segdino::Segmenter::open(argv[1]);
    const segdino::Mask mask = segmenter.segment(segdino::ImageView::rgb(pixels.data(), width, height));
    std::fwrite(mask.pixels.data(), 1, mask.pixels.size(), stdout);
    return 0;
  } catch (const segdino::InputError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  } catch (const segdino::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
}
