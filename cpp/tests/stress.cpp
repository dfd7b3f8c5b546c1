/// Opens and closes a bundle many times and tells how much memory the process holds: what is not given back shows.
///
///     segdino_stress BUNDLE ENGINE OPENS SETTLED [KIND]
///
/// Each time an image is segmented, in this thread and in another one that shares the engine. KIND: "InputError",
/// "MissingComponent" or "EngineError": opening has to fail with it, each time. Prints one JSON object: the resident
/// memory in KiB after SETTLED opens and after all OPENS, null where the system does not tell. Exit code 1: an open
/// that had to fail did not, failed in another way, or two masks of the same image differ.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "segdino/segdino.hpp"

namespace {

constexpr int kWidth = 50;  // neither the model's size nor its shape
constexpr int kHeight = 37;

/// "1234", or "null".
std::string resident_kib() {
  std::ifstream status("/proc/self/status");
  const std::string name = "VmRSS:";
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::to_string(std::stol(line.substr(name.size())));
  }
  return "null";
}

std::vector<std::uint8_t> picture() {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(kWidth * kHeight * 3));
  unsigned state = 1;
  std::generate(pixels.begin(), pixels.end(), [&] {
    state = state * 1103515245 + 12345;
    return static_cast<std::uint8_t>(state >> 16);
  });
  return pixels;
}

void use(segdino::Segmenter& segmenter, const std::vector<std::uint8_t>& pixels) {
  const auto view = segdino::ImageView::rgb(pixels.data(), kWidth, kHeight);
  const segdino::Mask mask = segmenter.segment(view);
  segdino::Mask other;
  std::exception_ptr failed;
  std::thread thread([&] {
    try {
      segdino::Segmenter shared = segmenter.share();
      other = shared.segment(view);
      shared.segment(segdino::ImageView::rgb(nullptr, kWidth, kHeight));
    } catch (const segdino::InputError&) {  // what a view without pixels has to be refused with
    } catch (...) {
      failed = std::current_exception();
    }
  });
  thread.join();
  if (failed) std::rethrow_exception(failed);
  if (mask.pixels != other.pixels) throw std::logic_error("two masks of the same image differ");
}

std::string kind_of(const segdino::Error& error) {
  if (dynamic_cast<const segdino::InputError*>(&error) != nullptr) return "InputError";
  if (dynamic_cast<const segdino::MissingComponent*>(&error) != nullptr) return "MissingComponent";
  if (dynamic_cast<const segdino::EngineError*>(&error) != nullptr) return "EngineError";
  return "CheckFailed";
}

void open_once(const std::string& bundle, const segdino::Options& options, const std::string& expected,
               const std::vector<std::uint8_t>& pixels) {
  std::string found;
  try {
    segdino::Segmenter segmenter = segdino::Segmenter::open(bundle, options);
    use(segmenter, pixels);
  } catch (const segdino::Error& error) {
    found = kind_of(error);
    if (found != expected) throw;
  }
  if (found != expected) throw std::logic_error("no " + expected + " was thrown");
}

}  // namespace

int main(int count, char** words) {
  if (count < 5) {
    std::fputs("segdino_stress BUNDLE ENGINE OPENS SETTLED [KIND]\n", stderr);
    return 2;
  }
  try {
    segdino::Options options;
    options.engine = words[2];
    options.threads = 1;
    options.check_all_files = false;  // what an open costs most with a small model
    const int opens = std::stoi(words[3]);
    const int settled = std::stoi(words[4]);
    const std::vector<std::uint8_t> pixels = picture();
    std::string settled_kib = "null";
    for (int number = 1; number <= opens; ++number) {
      open_once(words[1], options, count > 5 ? words[5] : "", pixels);
      if (number == settled) settled_kib = resident_kib();
    }
    std::printf("{\"opens\": %d, \"settled\": %d, \"settled_kib\": %s, \"last_kib\": %s}\n", opens, settled,
                settled_kib.c_str(), resident_kib().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
