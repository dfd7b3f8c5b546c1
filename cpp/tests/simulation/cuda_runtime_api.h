/// The part of CUDA's runtime that the library uses, of a GPU that is simulated in host memory. See world.hpp.
#pragma once

#include <cstddef>

#define SIMULATED extern "C" __attribute__((visibility("default")))

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorUnknown = 999
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged };
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor = 75, cudaDevAttrComputeCapabilityMinor = 76 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2;
constexpr unsigned cudaHostAllocDefault = 0;

struct cudaDeviceProp {
  char name[256];
};
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
};

struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;

SIMULATED const char* cudaGetErrorString(cudaError_t error);
SIMULATED const char* cudaGetErrorName(cudaError_t error);
SIMULATED cudaError_t cudaGetLastError();
SIMULATED cudaError_t cudaGetDeviceCount(int* count);
SIMULATED cudaError_t cudaGetDevice(int* device);
SIMULATED cudaError_t cudaSetDevice(int device);
SIMULATED cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
SIMULATED cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
SIMULATED cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address);

SIMULATED cudaError_t cudaMalloc(void** memory, std::size_t bytes);
SIMULATED cudaError_t cudaFree(void* memory);
SIMULATED cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags);
SIMULATED cudaError_t cudaFreeHost(void* memory);

SIMULATED cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
SIMULATED cudaError_t cudaStreamDestroy(cudaStream_t stream);
SIMULATED cudaError_t cudaStreamSynchronize(cudaStream_t stream);
SIMULATED cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
SIMULATED cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes, cudaMemcpyKind kind,
                                      cudaStream_t stream);

SIMULATED cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
SIMULATED cudaError_t cudaEventDestroy(cudaEvent_t event);
SIMULATED cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
SIMULATED cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end);

SIMULATED cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
SIMULATED cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
SIMULATED cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
SIMULATED cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                                    unsigned long long flags);
SIMULATED cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
SIMULATED cudaError_t cudaGraphDestroy(cudaGraph_t graph);
SIMULATED cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
