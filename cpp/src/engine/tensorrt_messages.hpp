/// What TensorRT says: never printed, and told in the error when something fails.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <string>

#include "engine/tensorrt_versions.hpp"

#if defined(SEGDINO_WITH_TENSORRT) && defined(SEGDINO_WITH_TENSORRT_RTX)
#error "TensorRT and TensorRT-RTX have the same names: a build can hold one of them"
#endif

namespace segdino::detail {

/// The product that this library was built for.
constexpr const Flavour& this_flavour() {
#ifdef SEGDINO_WITH_TENSORRT_RTX
  return kTensorRtRtx;
#else
  return kTensorRt;
#endif
}

/// Of the library that is here, such as "10.3.0.26".
std::string library_version();

/// The one logger of all engines. TensorRT keeps a process's first logger for whatever is made later, so that this one
/// stays to the end of the process.
nvinfer1::ILogger& logger();

/// Hears what TensorRT says while it lives. One logger hears all threads, so that an error is taken for the calling
/// thread's, or for one of a thread that TensorRT has started, but never for that of another thread which listens.
class Listening {
 public:
  Listening();
  ~Listening();
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  /// The error to throw after TensorRT has refused something: `what`, its own first error, and the cure where one is
  /// known.
  EngineError failure(const std::string& what) const;

 private:
  std::uint64_t since_;
};

}  // namespace segdino::detail
