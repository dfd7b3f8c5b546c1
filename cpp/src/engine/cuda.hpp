/// CUDA's runtime: everything that is taken gives itself back, and whatever is refused is thrown in one line.
///
/// All of it belongs to the GPU that the calling thread has when it is made, and is to be used and given back while
/// that is the thread's: see ActiveGpu.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <new>

#include "engine/tensorrt_versions.hpp"

namespace segdino::detail::cuda {

/// EngineError, with the name of the call and CUDA's own words, where `status` is no success.
void check(cudaError_t status, const char* call);

/// The GPU that the calling thread works on. EngineError where there is none, or it does not answer.
Gpu current_gpu();

/// Makes a GPU the calling thread's while it lives, and gives back the one that the thread had: the first one where it
/// had chosen none, which CUDA does not tell apart.
class ActiveGpu {
 public:
  /// EngineError where CUDA refuses; with std::nothrow the thread keeps the GPU that it has then.
  explicit ActiveGpu(int number);
  ActiveGpu(int number, std::nothrow_t) noexcept;
  ~ActiveGpu();
  ActiveGpu(const ActiveGpu&) = delete;
  ActiveGpu& operator=(const ActiveGpu&) = delete;

 private:
  int before_ = 0;
  bool was_changed_ = false;
};

struct Releases {
  void operator()(cudaStream_t stream) const { static_cast<void>(cudaStreamDestroy(stream)); }
  void operator()(cudaEvent_t event) const { static_cast<void>(cudaEventDestroy(event)); }
  void operator()(cudaGraph_t graph) const { static_cast<void>(cudaGraphDestroy(graph)); }
  void operator()(cudaGraphExec_t graph) const { static_cast<void>(cudaGraphExecDestroy(graph)); }
};
struct FreesDevice {
  void operator()(void* memory) const { static_cast<void>(cudaFree(memory)); }
};
struct FreesPinned {
  void operator()(void* memory) const { static_cast<void>(cudaFreeHost(memory)); }
};

using Stream = std::unique_ptr<CUstream_st, Releases>;
using Event = std::unique_ptr<CUevent_st, Releases>;
using Graph = std::unique_ptr<CUgraphExec_st, Releases>;
using DeviceMemory = std::unique_ptr<void, FreesDevice>;
using PinnedMemory = std::unique_ptr<void, FreesPinned>;  // of the host; copies do not have to stage it

/// A stream that does not wait for the default stream.
Stream make_stream();

/// `measures`: for elapsed_ms; else only to wait for.
Event make_event(bool measures);

/// Aligned to 256 bytes. EngineError names the size and the cure where there is no memory.
DeviceMemory allocate(std::size_t bytes);
PinnedMemory allocate_pinned(std::size_t bytes);

/// Puts a copy on the stream. Memory of the host must be pinned, and stay until it is done.
void copy(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);

/// What comes on `stream` from now on waits for what stands on `producer` now. `event`: made for waiting.
void wait_for(cudaStream_t stream, cudaStream_t producer, cudaEvent_t event);

/// Returns when everything on the stream is done.
void synchronize(cudaStream_t stream);

/// Milliseconds between two marks that were recorded and passed.
double elapsed_ms(cudaEvent_t start, cudaEvent_t end);

/// The GPU that holds an address, managed memory included; -1: it is no memory of a GPU.
int gpu_of(const void* address);

/// From begin_capture on, what this thread puts on the stream is recorded and does not run, until end_capture makes a
/// graph of it. After a failure cancel_capture: the stream is usable then.
void begin_capture(cudaStream_t stream);
Graph end_capture(cudaStream_t stream);
void cancel_capture(cudaStream_t stream) noexcept;

}  // namespace segdino::detail::cuda
