/// Where a TensorRT engine was built and where it may run, said before TensorRT's own error can appear. No GPU and no
/// TensorRT is needed here; the rules and words are those of segdino_deploy/engines/tensorrt/versions.py.
#pragma once

#include <string>
#include <string_view>

#include "bundle/manifest.hpp"

namespace segdino::detail {

/// One of the two products, as segdino_deploy/engines/tensorrt/flavours.py.
struct Flavour {
  const char* backend;
  const char* title;
  const char* module;  // key of its version in `EngineRecord::built_with`
  bool builds_without_gpu;
  bool compiles_on_device;  // there is a cache of kernels, and CUDA graphs are its own
  std::string_view magic;   // that its engine files begin with, where that is known for certain
};

constexpr Flavour kTensorRt = {"tensorrt", "TensorRT", "tensorrt", false, false, ""};
constexpr Flavour kTensorRtRtx = {"tensorrt-rtx", "TensorRT-RTX", "tensorrt_rtx", true, true, "vtrt"};

/// The GPU that an engine is opened on.
struct Gpu {
  int number = 0;  // as CUDA counts
  std::string name;
  std::string compute_capability;  // such as "8.9"
};

/// In words, or empty: `built for TensorRT 10.3.0 on sm_87; this machine has 11.4.0 on sm_90 (NVIDIA H200)`.
///
/// An engine runs on the version that built it, on a later one where it is version compatible, and on the compute
/// capabilities that it was built for. `version`: of the library that is here, such as "10.3.0.26".
std::string why_it_cannot_run(const EngineRecord& engine, const Flavour& flavour, const std::string& version,
                              const Gpu& gpu);

}  // namespace segdino::detail
