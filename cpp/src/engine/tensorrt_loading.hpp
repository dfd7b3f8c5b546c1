/// An engine file into TensorRT: everything that can be told before is told before, and each failure in one line. The
/// rules and words are those of segdino_deploy/engines/tensorrt/loading.py.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "engine/tensorrt_cache.hpp"
#include "engine/tensorrt_versions.hpp"

namespace segdino::detail {

/// One deserialised engine, shared by the contexts of several threads. To be released while `gpu` is the thread's.
struct LoadedEngine {
  // Made in this order and released in the reverse one.
  std::unique_ptr<nvinfer1::IRuntime> runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
#ifdef SEGDINO_WITH_TENSORRT_RTX
  std::unique_ptr<RuntimeCache> cache;
#endif
  Gpu gpu;
  Card card;
  std::vector<Tensor> outputs;  // in the card's order
  std::string precision;
  std::mutex making;  // contexts are made one after the other
};

/// The calling thread's GPU. MissingComponent, with the cure, where there is none or the engine does not run on it.
Gpu require_runnable(const Opening& opening);

/// Deserialises the file on the calling thread's GPU and, where it holds no weights, brings them in from the bundle's
/// ONNX file.
/// MissingComponent (this driver or GPU; weights that are not there), InputError (no engine of this model), EngineError
/// (what TensorRT refuses).
std::shared_ptr<LoadedEngine> load_engine(const Opening& opening, const Gpu& gpu);

/// "build it here: " and the command.
std::string build_it_here(const Opening& opening);

/// Weights by name, from the ONNX file that the engine was built from. MissingComponent where that cannot be done here,
/// EngineError where TensorRT refuses.
void bring_weights(nvinfer1::ICudaEngine& engine, const Opening& opening);

}  // namespace segdino::detail
