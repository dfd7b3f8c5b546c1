#include <algorithm>
#include <cstring>
#include <utility>

#include "world.hpp"

using namespace simulation;

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUstream_st {
  int device = 0;
  std::deque<Work> waiting;
  std::unique_ptr<CUgraph_st> capturing;
  std::thread::id captures;  // the thread that does
  bool is_invalid = false;   // of the capture

  void drain() {
    std::deque<Work> work;
    std::swap(work, waiting);
    for (const Work& step : work) step();
  }
};
struct CUevent_st {
  int device = 0;
  bool measures = false;
  cudaStream_t recorded_on = nullptr;
  double passed_ms = -1;
};

namespace simulation {

World& world() {
  static World* const kept = new World;
  return *kept;
}

int& device() {
  thread_local int number = 0;
  return number;
}

bool World::note(const std::string& call) {
  log.push_back(call);
  return log.size() == fails_at;
}

void World::require(bool rule, const std::string& otherwise) {
  if (!rule) violations.push_back(otherwise);
}

bool World::is_empty() const {
  return memory.empty() && streams.empty() && events.empty() && graphs.empty() && executables.empty() && objects == 0;
}

bool is_capturing(cudaStream_t stream) { return stream->capturing && stream->captures == std::this_thread::get_id(); }

void put(cudaStream_t stream, Work work) {
  if (stream->capturing) {
    stream->capturing->work.push_back(std::move(work));
  } else {
    stream->waiting.push_back(std::move(work));
  }
}

namespace {

thread_local cudaError_t last_error = cudaSuccess;

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t fail(cudaError_t error) { return last_error = error; }

/// Takes memory that is aligned as CUDA's is.
cudaError_t take(void** given, std::size_t bytes, bool is_pinned, const char* call) {
  const Lock lock(world().mutex);
  if (world().note(call)) return fail(cudaErrorMemoryAllocation);
  constexpr std::uintptr_t kAlignment = 256;
  Allocation allocation{bytes, device(), is_pinned, std::make_unique<std::uint8_t[]>(bytes + kAlignment)};
  std::memset(allocation.whole.get(), kNonsense, bytes + kAlignment);
  const auto start = reinterpret_cast<std::uintptr_t>(allocation.whole.get());
  auto* const address = allocation.whole.get() + (kAlignment - start % kAlignment) % kAlignment;
  world().memory[address] = std::move(allocation);
  *given = address;
  return cudaSuccess;
}

cudaError_t release(void* address, const char* call) {
  const Lock lock(world().mutex);
  const bool fails = world().note(call);
  const auto found = world().memory.find(static_cast<std::uint8_t*>(address));
  world().require(found != world().memory.end(), std::string(call) + " of memory that is not there");
  if (found == world().memory.end()) return fail(cudaErrorUnknown);
  const int owner = found->second.device;
  for (cudaStream_t stream : world().streams) {
    world().require(stream->device != owner || stream->waiting.empty() || world().fails_at != 0,
                    "memory was released while work was to be done");
  }
  world().require(found->second.is_pinned || owner == device(), "memory was released on another GPU");
  world().memory.erase(found);
  return fails ? fail(cudaErrorUnknown) : cudaSuccess;
}

/// What all calls on a stream require.
cudaError_t check_stream(cudaStream_t stream, const char* call) {
  if (world().note(call)) return fail(cudaErrorUnknown);
  const bool is_known = world().streams.count(stream) > 0;
  world().require(is_known && stream->device == device(), std::string(call) + " on another GPU's stream");
  return is_known && stream->device == device() ? cudaSuccess : fail(cudaErrorInvalidResourceHandle);
}

bool is_pinned(const void* address) {
  const auto found = world().memory.find(static_cast<std::uint8_t*>(const_cast<void*>(address)));
  return found != world().memory.end() && found->second.is_pinned;
}

}  // namespace
}  // namespace simulation

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    default:
      return "refused by the simulation";
  }
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    default:
      return "cudaErrorUnknown";
  }
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = world().gpus;
  return world().gpus > 0 ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int* number) {
  *number = device();
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int number) {
  device() = number;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strncpy(properties->name, world().name.c_str(), sizeof properties->name - 1);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? world().major : world().minor;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const Lock lock(world().mutex);
  *attributes = {cudaMemoryTypeUnregistered, -2};
  for (const auto& [begin, allocation] : world().memory) {
    if (address < begin || address >= begin + allocation.bytes) continue;
    *attributes = {allocation.is_pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice, allocation.device};
  }
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) { return take(memory, bytes, false, "malloc"); }
cudaError_t cudaFree(void* memory) { return release(memory, "free"); }
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) { return take(memory, bytes, true, "pin"); }
cudaError_t cudaFreeHost(void* memory) { return release(memory, "unpin"); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const Lock lock(world().mutex);
  world().require(flags == cudaStreamNonBlocking, "a stream that waits for the default one");
  if (world().note("create_stream")) return fail(cudaErrorUnknown);
  *stream = new CUstream_st;
  (*stream)->device = device();
  world().streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(world().mutex);
  const bool fails = world().note("destroy_stream");
  world().require(stream->waiting.empty() || world().fails_at != 0, "a stream was destroyed while work was to be done");
  world().require(world().streams.erase(stream) == 1, "a stream was destroyed twice");
  delete stream;
  return fails ? fail(cudaErrorUnknown) : cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = check_stream(stream, "synchronize")) return error;
  if (stream->capturing) {
    stream->is_invalid = true;
    return fail(cudaErrorStreamCaptureUnsupported);
  }
  stream->drain();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = check_stream(stream, "wait")) return error;
  const cudaStream_t producer = event->recorded_on;
  put(stream, [producer] {
    if (world().streams.count(producer) > 0) producer->drain();
  });
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = check_stream(stream, "copy")) return error;
  world().require(kind != cudaMemcpyHostToDevice || is_pinned(source), "a copy of pageable memory");
  world().require(kind != cudaMemcpyDeviceToHost || is_pinned(target), "a copy to pageable memory");
  put(stream, [=] {
    std::memmove(target, source, bytes);
    world().clock_ms += kCopyMs;
  });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const Lock lock(world().mutex);
  if (world().note("create_event")) return fail(cudaErrorUnknown);
  *event = new CUevent_st{device(), flags == cudaEventDefault, nullptr, -1};
  world().events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(world().mutex);
  const bool fails = world().note("destroy_event");
  world().require(world().events.erase(event) == 1, "an event was destroyed twice");
  delete event;
  return fails ? fail(cudaErrorUnknown) : cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = check_stream(stream, "record")) return error;
  event->recorded_on = stream;
  event->passed_ms = -1;
  if (event->measures) put(stream, [event] { event->passed_ms = world().clock_ms; });
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const Lock lock(world().mutex);
  if (world().note("elapsed")) return fail(cudaErrorUnknown);
  if (!start->measures || !end->measures) return fail(cudaErrorInvalidResourceHandle);
  if (start->passed_ms < 0 || end->passed_ms < 0) return fail(cudaErrorNotReady);
  *milliseconds = static_cast<float>(end->passed_ms - start->passed_ms);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = check_stream(stream, "capture")) return error;
  if (stream->capturing) return fail(cudaErrorUnknown);
  stream->capturing = std::make_unique<CUgraph_st>();
  stream->captures = std::this_thread::get_id();
  stream->is_invalid = false;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(world().mutex);
  *graph = nullptr;
  const bool fails = world().note("end_capture");
  if (!stream->capturing) return fail(cudaErrorUnknown);
  const std::unique_ptr<CUgraph_st> captured = std::move(stream->capturing);
  if (fails || stream->is_invalid) return fail(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{captured->work};
  world().graphs.insert(*graph);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = !stream->capturing   ? cudaStreamCaptureStatusNone
            : stream->is_invalid ? cudaStreamCaptureStatusInvalidated
                                 : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const Lock lock(world().mutex);
  if (world().note("instantiate")) return fail(cudaErrorMemoryAllocation);
  *executable = new CUgraphExec_st{graph->work};
  world().executables.insert(*executable);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = check_stream(stream, "launch")) return error;
  world().require(world().executables.count(executable) == 1, "a destroyed graph was launched");
  for (const Work& work : executable->work) put(stream, work);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const Lock lock(world().mutex);
  world().require(world().graphs.erase(graph) == 1, "a graph was destroyed twice");
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const Lock lock(world().mutex);
  const bool fails = world().note("destroy_graph");
  world().require(world().executables.erase(executable) == 1, "a graph was destroyed twice");
  delete executable;
  return fails ? fail(cudaErrorUnknown) : cudaSuccess;
}
