/// GPUs in host memory, with the rules of real ones, so that breaking a rule shows as a wrong result, as an error, or
/// among `World::violations`.
///
/// Streams run nothing before somebody synchronises; copies and engines read memory when they run, not when they are
/// put on a stream; a graph that was captured for one shape computes nonsense after its context has had another one. A
/// call that is refused does nothing, but for those that release: of them the error is an earlier one, as with CUDA.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cuda_runtime_api.h"

namespace simulation {

using Work = std::function<void()>;

constexpr std::uint8_t kNonsense = 0xAB;
constexpr double kCopyMs = 1.0, kEngineMs = 2.5;  // that a copy and an engine take, of simulated time

struct Allocation {
  std::size_t bytes = 0;
  int device = 0;
  bool is_pinned = false;
  std::unique_ptr<std::uint8_t[]> whole;
};

struct World {
  std::recursive_mutex mutex;
  int gpus = 1;
  std::string name = "Simulated GPU";
  int major = 8, minor = 9;
  std::vector<int> version = {10, 3, 0, 26};  // of TensorRT
  int contexts_left = 1000;                   // that engines can give
  int refusals = 0;                           // executions that will be refused ...
  std::string refusal;                        // ... with this message ...
  bool is_foreign = false;                    // ... which a thread of TensorRT's says
  void (*interlude)() = nullptr;              // called once, inside the next execution, before anything else
  bool refuses_capture = false;
  std::uint64_t validity = 0;  // TensorRT-RTX: 0, or the reasons why it calls every engine invalid

  std::vector<std::string> log;  // names of the calls that took, moved or released something, in order
  std::size_t fails_at = 0;      // the call that is refused; 0: none
  std::vector<std::string> violations;
  std::map<std::uint8_t*, Allocation> memory;
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<cudaGraph_t> graphs;
  std::set<cudaGraphExec_t> executables;
  int objects = 0;    // of TensorRT's, that live
  int dla_core = -1;  // that the last runtime was told
  bool is_host_code_allowed = false;
  double clock_ms = 0;

  /// Keeps the name of a call. Whether it is refused.
  bool note(const std::string& call);
  void require(bool rule, const std::string& otherwise);
  bool is_empty() const;
};

World& world();

/// The calling thread's GPU.
int& device();

/// Puts work on a stream, or into the graph that is captured from it.
void put(cudaStream_t stream, Work work);

/// Whether the calling thread captures this stream.
bool is_capturing(cudaStream_t stream);

}  // namespace simulation
