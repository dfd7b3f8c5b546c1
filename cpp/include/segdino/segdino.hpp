/// \file
/// Masks from the engines of a segdino-deploy bundle.
///
///     auto segmenter = segdino::Segmenter::open("polyp.segdino");
///     segdino::Mask mask = segmenter.segment(segdino::ImageView::rgb(pixels, width, height));
///
/// The masks are those of `segdino-deploy predict`: images are resized with the filter that training used, bit for bit
/// as Pillow does it, by the same engine file, whose sha256 was compared with the manifest's.
///
/// Threads: a Segmenter is used by one thread at a time; it may be moved to another one. For several threads open one
/// and call `share()` for each of the others: they run the same engine, whose weights are in memory once. A call that
/// throws leaves the Segmenter usable. One that was moved from may only be destroyed or assigned to.
///
/// Everything that fails throws a child of `segdino::Error` (std::bad_alloc apart), with one line that says what, where
/// and the cure. Nothing here prints, exits, or keeps a pointer of the caller's after a call has returned. Nothing is
/// written, but to `Options::cache` and, with TensorRT-RTX, which compiles where it runs, to
/// `$XDG_CACHE_HOME/segdino-deploy` (else `~/.cache/segdino-deploy`); where these cannot be written, engines are
/// compiled each time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "segdino/export.h"

namespace segdino {

/// Of this library, such as "0.1.0".
SEGDINO_API const char* version() noexcept;

/// Backends that were compiled in, such as "openvino".
SEGDINO_API std::vector<std::string> backends();

/// Base of all errors. `expected` and `got` say what was compared, and are empty where nothing was.
class SEGDINO_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, std::string expected = "", std::string got = "");
  ~Error() override;
  const std::string& expected() const noexcept { return expected_; }
  const std::string& got() const noexcept { return got_; }

 private:
  std::string expected_;
  std::string got_;
};

/// Wrong use or an unusable file: the caller can cure it.
class SEGDINO_API InputError : public Error {
 public:
  using Error::Error;
  ~InputError() override;
};

/// A check ran and failed: the canary.
class SEGDINO_API CheckFailed : public Error {
 public:
  using Error::Error;
  ~CheckFailed() override;
};

/// A backend, version or device that the engine needs is not here.
class SEGDINO_API MissingComponent : public Error {
 public:
  using Error::Error;
  ~MissingComponent() override;
};

/// The backend refused to open or to run the engine, in its own words.
class SEGDINO_API EngineError : public Error {
 public:
  using Error::Error;
  ~EngineError() override;
};

/// 8 bits per channel, channels next to each other. Alpha is dropped, grey is repeated in all three channels.
/// nv12: a plane of luma and one of interleaved chroma at half the size (ITU-R BT.601, studio range), as cameras give;
/// converted as OpenCV's COLOR_YUV2RGB_NV12 does.
enum class PixelFormat { rgb, bgr, rgba, bgra, grey, nv12 };

/// Pixels; x to the right, y down.
struct Region {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
};

/// An image in the caller's memory, which must live as long as the call that it is given to.
struct SEGDINO_API ImageView {
  const std::uint8_t* data = nullptr;  ///< first byte of the first row
  int width = 0;                       ///< pixels, 1 to 65535
  int height = 0;                      ///< pixels, 1 to 65535
  std::size_t stride = 0;              ///< bytes from one row to the next; 0: rows follow each other without a gap
  PixelFormat format = PixelFormat::rgb;
  const std::uint8_t* chroma = nullptr;  ///< nv12: the second plane; null: right behind the first one's last stride
  std::size_t chroma_stride = 0;         ///< nv12: of the second plane; 0: that of the first
  std::optional<Region> region = std::nullopt;  ///< of interest: nothing else is read, and the result is of its size

  /// Rows without gaps.
  static ImageView rgb(const std::uint8_t* data, int width, int height) {
    ImageView view;
    view.data = data;
    view.width = width;
    view.height = height;
    return view;
  }
};

/// Class by pixel: 0 and 1 for models of one class, else the class's index.
struct Mask {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;  ///< [height][width]

  /// `x` from 0 to width - 1, `y` from 0 to height - 1; not checked.
  std::uint8_t at(int x, int y) const {
    return pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)];
  }
};

/// Probabilities (0 to 1) or logits.
struct Planes {
  int channels = 0;
  int width = 0;
  int height = 0;
  std::vector<float> values;  ///< [channels][height][width]
};

/// Size of what comes back: the image's (masks with nearest neighbour, probabilities and logits bilinearly, as Pillow
/// resizes them), or the model's own.
enum class OutputSize { source, model };

/// What to give back beside the masks.
struct Request {
  OutputSize size = OutputSize::source;
  bool probability = false;  ///< InputError where the model was exported without
  bool logits = false;       ///< InputError where the model was exported without
};

/// Milliseconds of one call.
struct Timings {
  double prepare_ms = 0;  ///< the caller's pixels to RGB of the model's size, where the engine reads it
  double run_ms = 0;      ///< the engine, with copies to and from its device
  double engine_ms = 0;   ///< of that, the engine alone
  double finish_ms = 0;   ///< the engine's outputs to masks of the asked size

  double total_ms() const { return prepare_ms + run_ms + finish_ms; }
};

/// One head's answer to one image.
struct HeadResult {
  std::string head;  ///< empty: the only head, exported without a name
  Mask mask;
  std::optional<Planes> probability;
  std::optional<Planes> logits;
};

/// The answer to one image. `timings` are of the whole call: of a batch, the same for all its images.
struct Result {
  std::vector<HeadResult> heads;  ///< in the bundle's order
  Timings timings;
};

/// One head of the model, of the bundle's manifest.
struct HeadInfo {
  std::string name;    ///< empty: the only head, exported without a name
  std::string family;  ///< such as "v2"
  int num_classes = 0;
  std::vector<std::string> class_names;
  std::vector<std::string> outputs;  ///< of "mask", "probability", "logits"
  double threshold = 0.5;            ///< probability above which a pixel of one class is foreground
};

/// The model and the engine that runs it.
struct Info {
  std::string engine;     ///< name in the bundle, such as "openvino-int8"
  std::string backend;    ///< such as "openvino"
  std::string precision;  ///< "fp32", "fp16", "bf16" or "int8"
  std::string device;     ///< in words: "CPU", or the GPU's name and compute capability
  int input_width = 0;    ///< pixels
  int input_height = 0;
  int min_batch = 1;  ///< smaller batches are filled up
  int max_batch = 1;  ///< larger ones are run in pieces
  std::vector<HeadInfo> heads;
};

/// How a bundle is opened.
struct Options {
  /// Name of an engine of the bundle. Empty: the first one that runs here, fp16 before bf16, fp32 and int8, of the
  /// `backend` and `precision` that are named. What is named is never replaced by something else.
  std::string engine;
  std::string backend;
  std::string precision;
  int threads = 0;            ///< of one run on the CPU; 0: the backend's own choice (physical cores)
  bool check_canary = false;  ///< run the bundle's canary and throw CheckFailed where the engine's answer is wrong
  /// Compare every file of the bundle with its sha256. False: only those of the engine that is opened.
  bool check_all_files = true;
  /// Where OpenVINO may keep what it compiled, which makes opening faster the next time. Empty: nowhere. A folder that
  /// cannot be made or written is no error: opening takes as long as without one.
  std::filesystem::path cache;
};

/// A batch on the GPU that the engine runs on: uint8 [count][height][width][3], RGB, of the model's size, contiguous.
struct DeviceBatch {
  const void* data = nullptr;  ///< TensorRT reads it in place where the address is a multiple of 256
  int count = 1;               ///< between the model's smallest and largest batch
  void* stream = nullptr;      ///< cudaStream_t that the pixels are written on; null: they are written
};

/// An output on the GPU, valid until the Segmenter's next call.
struct DeviceOutput {
  std::string name;            ///< such as "mask" or "polyp.logits"
  const void* data = nullptr;  ///< masks uint8 [count][height][width], the others float [count][C][height][width]
  std::size_t bytes = 0;
};

namespace detail {
class SegmenterImpl;
}

/// An opened engine. See the top of this file for threads and errors.
class SEGDINO_API Segmenter {
 public:
  /// Opens a bundle: reads the manifest, compares sha256, opens one engine.
  ///
  /// InputError: no bundle, damaged or missing files, an older or newer schema, no such engine. MissingComponent: the
  /// backend is not compiled in, or the engine is for another device or version. EngineError, CheckFailed.
  static Segmenter open(const std::filesystem::path& bundle, const Options& options = {});

  ~Segmenter();
  Segmenter(Segmenter&&) noexcept;
  Segmenter& operator=(Segmenter&&) noexcept;

  /// Another one on the same engine, for another thread. May be called while this one runs.
  Segmenter share() const;

  /// The mask of the first head. InputError for a view that is not valid.
  Mask segment(const ImageView& image, OutputSize size = OutputSize::source);

  /// The masks of the first head, of any number of images of any sizes.
  std::vector<Mask> segment(const std::vector<ImageView>& images, OutputSize size = OutputSize::source);

  /// Everything that is asked for, of all heads.
  Result analyse(const ImageView& image, const Request& request = {});
  std::vector<Result> analyse(const std::vector<ImageView>& images, const Request& request = {});

  /// All outputs of a batch that is on the GPU already, left there; complete when this returns.
  /// InputError: a batch that the model does not take. MissingComponent: the engine does not run on a GPU.
  std::vector<DeviceOutput> run_device(const DeviceBatch& batch);

  const Info& info() const noexcept;

  /// Of the last call. Zeros before the first one.
  const Timings& timings() const noexcept;

 private:
  explicit Segmenter(std::unique_ptr<detail::SegmenterImpl> impl);
  std::unique_ptr<detail::SegmenterImpl> impl_;
};

}  // namespace segdino
