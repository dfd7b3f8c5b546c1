/// One execution context with its own stream and buffers: what one thread at a time runs an engine with. The rules are
/// those of segdino_deploy/engines/tensorrt/session.py.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "engine/cuda.hpp"
#include "engine/tensorrt_loading.hpp"

namespace segdino::detail {

/// To be made, used and released while the engine's GPU is the thread's, and before the engine is released.
class Session {
 public:
  /// Takes a context and the buffers for the largest batch. EngineError where there is no memory for them.
  explicit Session(LoadedEngine& loaded);

  /// Waits for what still runs.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Pinned, of the largest batch.
  std::uint8_t* input() { return static_cast<std::uint8_t*>(input_host_.get()); }
  const void* output(std::size_t index) const { return outputs_.at(index).host.get(); }

  /// Runs on what stands at `input()`, and waits for the outputs. Milliseconds of the engine alone.
  double run(int batch);

  /// See Segmenter::run_device. InputError for memory that is not of the engine's GPU.
  std::vector<DeviceOutput> run_device(const DeviceBatch& batch);

 private:
  struct Output {
    cuda::DeviceMemory device;
    cuda::PinnedMemory host;
  };

  void make_context(LoadedEngine& loaded);
  void prepare(int batch, const void* address);
  void set_batch(int batch);
  void capture(const void* address);
  void enqueue(const void* address);
  void execute(const void* address);
  void drop_graphs();
  bool was_seen(const void* address) const;
  cuda::Graph* graph_of(const void* address);
  const void* place(const DeviceBatch& batch);
  std::size_t input_bytes(int batch) const;

  /// Runs `work`. After an exception nothing runs on the buffers any more, and nothing is taken for granted of the
  /// context.
  template <typename Work>
  auto recovering(Work work);

  // What belongs to the engine, which outlives this.
  const Card& card_;
  const std::vector<Tensor>& tensors_;
  const Gpu& gpu_;
  std::string what_;  // could not be done, for errors

  // Made in this order and released in the reverse one.
  cuda::Stream stream_;
  cuda::Event start_, end_;  // of the engine's work
  cuda::Event produced_;     // to wait for a caller's stream
  cuda::DeviceMemory input_device_;
  cuda::PinnedMemory input_host_;
  std::vector<Output> outputs_;  // in the card's order
#ifdef SEGDINO_WITH_TENSORRT_RTX
  std::unique_ptr<nvinfer1::IRuntimeConfig> config_;
#endif
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::deque<std::pair<const void*, cuda::Graph>> graphs_;  // of `batch_` images, by the address of the input
  std::deque<const void*> seen_;                            // addresses of inputs of that batch, the latest ones
  int batch_ = 0;                                           // what the context is set to; 0: not known
  bool can_capture_;
};

}  // namespace segdino::detail
