/// The one contract of all backends. A new backend is one file and one line in `backends.cpp`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bundle/bundle.hpp"

namespace segdino::detail {

/// An opened engine with memory for its inputs and outputs. Used by one thread at a time.
class Engine {
 public:
  virtual ~Engine() = default;

  /// Where the next batch is to be written: uint8 [batch][H][W][3], RGB. `batch`: between the card's smallest and
  /// largest. Valid until the next call of anything here.
  virtual std::uint8_t* input(int batch) = 0;

  /// Runs on what was written to `input(batch)`, and waits. Gives back the milliseconds of the engine alone, without
  /// copies to and from its device.
  virtual double run(int batch) = 0;

  /// The last run's output number `index` in the card's order: `Tensor::bytes()` for each image. Valid until the next
  /// run.
  virtual const void* output(std::size_t index) const = 0;

  /// See Segmenter::run_device. `batch.count` and `batch.data` were checked.
  virtual std::vector<DeviceOutput> run_device(const DeviceBatch& batch);

  /// In words.
  virtual std::string device() const = 0;

  /// Another one that runs the same engine, with memory of its own. May be called while this one runs.
  virtual std::unique_ptr<Engine> share() const = 0;
};

/// What a backend is given.
struct Opening {
  const Bundle& bundle;
  const EngineRecord& engine;
  const Options& options;

  const Card& card() const { return bundle.manifest.card; }
  std::filesystem::path file() const { return bundle.file(engine.file); }
};

/// Opens an engine with its backend.
/// MissingComponent: the backend is not compiled in (named with its CMake option), or the engine cannot run here.
/// InputError: a file that is no engine of this model. EngineError: what the backend refuses.
std::unique_ptr<Engine> open_engine(const Opening& opening);

/// MissingComponent where the engine's backend is not compiled in, with its CMake option.
void require_compiled(const EngineRecord& engine);

/// The backends that are compiled in, and all that there are, in the order in which they are tried.
std::vector<std::string> compiled_backends();
std::vector<std::string> known_backends();

// One file each; compiled where SEGDINO_WITH_<backend> is defined.
std::unique_ptr<Engine> open_openvino(const Opening& opening);
std::unique_ptr<Engine> open_onnxruntime(const Opening& opening);
std::unique_ptr<Engine> open_tensorrt(const Opening& opening);  // also TensorRT-RTX, in a build of its own

}  // namespace segdino::detail
