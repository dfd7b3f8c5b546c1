#include "engine/cuda.hpp"

#include <cstdio>

namespace segdino::detail::cuda {
namespace {

std::string in_words(cudaError_t status, const char* call) {
  return std::string(call) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
}

/// As `check`; of a call that takes memory.
void check_allocation(cudaError_t status, const char* call, std::size_t bytes) {
  if (status != cudaErrorMemoryAllocation) return check(status, call);
  static_cast<void>(cudaGetLastError());
  char asked[64];
  std::snprintf(asked, sizeof asked, "%.1f MB were asked for", static_cast<double>(bytes) / 1e6);
  throw EngineError(in_words(status, call) + ", " + asked +
                    "; close other programs, or use fewer Segmenters or a smaller batch");
}

}  // namespace

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  // CUDA keeps the last error for whoever asks next, which must not be an application that did nothing wrong.
  static_cast<void>(cudaGetLastError());
  throw EngineError(in_words(status, call));
}

Gpu current_gpu() {
  int count = 0, major = 0, minor = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (count < 1) throw EngineError("cudaGetDeviceCount: there is none");
  Gpu gpu;
  check(cudaGetDevice(&gpu.number), "cudaGetDevice");
  cudaDeviceProp properties = {};
  check(cudaGetDeviceProperties(&properties, gpu.number), "cudaGetDeviceProperties");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu.number), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, gpu.number), "cudaDeviceGetAttribute");
  gpu.name = properties.name;
  gpu.compute_capability = std::to_string(major) + "." + std::to_string(minor);
  return gpu;
}

ActiveGpu::ActiveGpu(int number) {
  check(cudaGetDevice(&before_), "cudaGetDevice");
  if (before_ == number) return;
  check(cudaSetDevice(number), "cudaSetDevice");
  was_changed_ = true;
}

ActiveGpu::ActiveGpu(int number, std::nothrow_t) noexcept {
  was_changed_ = cudaGetDevice(&before_) == cudaSuccess && before_ != number && cudaSetDevice(number) == cudaSuccess;
}

ActiveGpu::~ActiveGpu() {
  if (was_changed_) static_cast<void>(cudaSetDevice(before_));
}

Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return Stream(stream);
}

Event make_event(bool measures) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, measures ? cudaEventDefault : cudaEventDisableTiming),
        "cudaEventCreateWithFlags");
  return Event(event);
}

DeviceMemory allocate(std::size_t bytes) {
  void* memory = nullptr;
  check_allocation(cudaMalloc(&memory, bytes), "cudaMalloc", bytes);
  return DeviceMemory(memory);
}

PinnedMemory allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  check_allocation(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "cudaHostAlloc", bytes);
  return PinnedMemory(memory);
}

void copy(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  check(cudaMemcpyAsync(target, source, bytes, kind, stream), "cudaMemcpyAsync");
}

void wait_for(cudaStream_t stream, cudaStream_t producer, cudaEvent_t event) {
  check(cudaEventRecord(event, producer), "cudaEventRecord");
  check(cudaStreamWaitEvent(stream, event, 0), "cudaStreamWaitEvent");
}

void synchronize(cudaStream_t stream) { check(cudaStreamSynchronize(stream), "cudaStreamSynchronize"); }

double elapsed_ms(cudaEvent_t start, cudaEvent_t end) {
  float elapsed = 0;
  check(cudaEventElapsedTime(&elapsed, start, end), "cudaEventElapsedTime");
  return static_cast<double>(elapsed);
}

int gpu_of(const void* address) {
  cudaPointerAttributes attributes = {};
  check(cudaPointerGetAttributes(&attributes, address), "cudaPointerGetAttributes");
  const bool is_on_gpu = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
  return is_on_gpu ? attributes.device : -1;
}

void begin_capture(cudaStream_t stream) {
  // Of this thread only: what other threads do meanwhile must not spoil it.
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
}

Graph end_capture(cudaStream_t stream) {
  cudaGraph_t captured = nullptr;
  check(cudaStreamEndCapture(stream, &captured), "cudaStreamEndCapture");
  const std::unique_ptr<CUgraph_st, Releases> keeper(captured);
  cudaGraphExec_t graph = nullptr;
  check(cudaGraphInstantiateWithFlags(&graph, captured, 0), "cudaGraphInstantiateWithFlags");
  return Graph(graph);
}

void cancel_capture(cudaStream_t stream) noexcept {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream, &status) != cudaSuccess || status == cudaStreamCaptureStatusNone) return;
  cudaGraph_t unfinished = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream, &unfinished));  // its status only says again what failed
  static_cast<void>(cudaGetLastError());
  if (unfinished) Releases()(unfinished);
}

}  // namespace segdino::detail::cuda
