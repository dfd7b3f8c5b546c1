#include "data.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "image_file.hpp"

namespace segdino_bench {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBatches = 4;  // large batches of large images fill the memory
constexpr std::uint8_t kGrey = 128;

const std::array<const char*, 7> kImageSuffixes = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"};
// Folders of masks in the data sets that people use: those that segdino_deploy/images.py knows.
const std::array<const char*, 10> kMaskFolders = {"mask",
                                                  "masks",
                                                  "label",
                                                  "labels",
                                                  "gt",
                                                  "annotation",
                                                  "annotations",
                                                  "ground truth",
                                                  "segmentationclass",
                                                  "segmentationclasspng"};
const std::array<const char*, 2> kMaskFolderEnds = {"-mask", "_groundtruth"};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return text;
}

template <typename Names>
bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool holds_masks(const std::string& folder) {
  const std::string name = lower(folder);
  const auto is_end = [&name](const std::string& end) {
    return name.size() > end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
  };
  return contains(kMaskFolders, name) || std::any_of(kMaskFolderEnds.begin(), kMaskFolderEnds.end(), is_end);
}

std::vector<fs::path> images_below(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const fs::path& path = entry.path();
    if (entry.is_directory() && holds_masks(path.filename().string())) {
      throw segdino::InputError(folder.string() + ": holds masks in " + path.filename().string() +
                                ": name the folder of the images alone");
    }
    const bool is_hidden = path.filename().string().front() == '.';
    if (entry.is_regular_file() && !is_hidden && contains(kImageSuffixes, lower(path.extension().string()))) {
      found.push_back(path);
    }
  }
  if (found.empty()) throw segdino::InputError(folder.string() + ": holds no images");
  std::sort(found.begin(), found.end());
  return found;
}

/// [height][width][3] to the model's size.
void append_fitted(const example::RgbImage& image, const segdino::Info& info, Batch& batch) {
  const auto width = static_cast<std::size_t>(image.width);
  const auto height = static_cast<std::size_t>(image.height);
  const auto columns = static_cast<std::size_t>(info.input_width);
  const auto rows = static_cast<std::size_t>(info.input_height);
  for (std::size_t y = 0; y < rows; ++y) {
    for (std::size_t x = 0; x < columns; ++x) {
      const std::uint8_t* pixel = image.pixels.data() + (y * height / rows * width + x * width / columns) * 3;
      batch.pixels.insert(batch.pixels.end(), pixel, pixel + 3);
    }
  }
}

}  // namespace

std::vector<fs::path> list_images(const std::vector<fs::path>& named) {
  std::vector<fs::path> files;
  for (const fs::path& path : named) {
    if (fs::is_directory(path)) {
      const std::vector<fs::path> found = images_below(path);
      files.insert(files.end(), found.begin(), found.end());
    } else if (fs::exists(path)) {
      files.push_back(path);
    } else {
      throw segdino::InputError(path.string() + ": no such file or folder");
    }
  }
  return files;
}

std::vector<Batch> fill_batches(const std::vector<fs::path>& files, const segdino::Info& info, int images_per_batch) {
  const auto size = static_cast<std::size_t>(images_per_batch);
  if (files.empty()) return {Batch{std::vector<std::uint8_t>(size * bytes_of_image(info), kGrey)}};
  std::vector<Batch> fitted(std::min(files.size(), std::max(kBatches, size)));
  for (std::size_t index = 0; index < fitted.size(); ++index) {
    append_fitted(example::read_image(files[index]), info, fitted[index]);
  }
  std::vector<Batch> batches(std::min(kBatches, fitted.size()));
  for (std::size_t start = 0; start < batches.size(); ++start) {
    for (std::size_t image = 0; image < size; ++image) {
      const std::vector<std::uint8_t>& pixels = fitted[(start + image) % fitted.size()].pixels;
      batches[start].pixels.insert(batches[start].pixels.end(), pixels.begin(), pixels.end());
    }
  }
  return batches;
}

}  // namespace segdino_bench
