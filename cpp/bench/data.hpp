/// The images to measure with.
#pragma once

#include <filesystem>
#include <vector>

#include "segdino/segdino.hpp"
#include "turns.hpp"

namespace segdino_bench {

/// The image files that are named, and those below the folders that are, sorted, sub-folders included. Throws
/// segdino::InputError: no such file, a folder without images, or one that holds masks beside them.
std::vector<std::filesystem::path> list_images(const std::vector<std::filesystem::path>& named);

/// Up to four batches of `images_per_batch` images, each of which begins with another of the first files; of no files,
/// one batch of grey. The files are brought to the model's size by leaving out pixels, for no more than their time is
/// measured with them.
std::vector<Batch> fill_batches(const std::vector<std::filesystem::path>& files, const segdino::Info& info,
                                int images_per_batch);

}  // namespace segdino_bench
