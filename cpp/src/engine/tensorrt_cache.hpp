/// TensorRT-RTX compiles kernels where it runs: what it has compiled is kept for the next process, for Python's too
/// (the rules are those of segdino_deploy/engines/tensorrt/runtime_cache.py).
///
/// The file stands in the user's cache folder, never in the bundle, whose files are hashed.
#pragma once

#ifdef SEGDINO_WITH_TENSORRT_RTX

#include <NvInferRuntime.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.hpp"

namespace segdino::detail {

/// Of one engine with one version of TensorRT-RTX on one kind of GPU. Empty where the user has no home.
std::filesystem::path cache_file(const Opening& opening, const std::string& version,
                                 const std::string& compute_capability);

/// Shared by the contexts of one engine, and to be kept until they are gone. Used by one thread at a time.
class RuntimeCache {
 public:
  /// `file`: empty: nothing is kept.
  explicit RuntimeCache(std::filesystem::path file) : file_(std::move(file)) {}

  /// Saves.
  ~RuntimeCache();
  RuntimeCache(const RuntimeCache&) = delete;
  RuntimeCache& operator=(const RuntimeCache&) = delete;

  /// A configuration with which a context compiles into the cache, and runs as a CUDA graph that TensorRT-RTX captures
  /// by itself. It must live as long as the context. Null where TensorRT-RTX refuses.
  std::unique_ptr<nvinfer1::IRuntimeConfig> configure(nvinfer1::ICudaEngine& engine);

  /// Writes what is new. A cache that cannot be written costs time when the engine is opened again, no more.
  void save() noexcept;

 private:
  void read();

  std::filesystem::path file_;
  std::unique_ptr<nvinfer1::IRuntimeCache> cache_;
  std::vector<char> known_;  // what the file holds
};

}  // namespace segdino::detail

#endif
