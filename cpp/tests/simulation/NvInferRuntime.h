/// The part of TensorRT that the library uses, and of TensorRT-RTX, which is the same with a little more. The simulated
/// engines read plans of text: see tensorrt.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace nvinfer1 {

enum class DataType : std::int32_t { kFLOAT, kHALF, kINT8, kINT32, kBOOL, kUINT8 };
enum class TensorIOMode : std::int32_t { kNONE, kINPUT, kOUTPUT };
enum class ProfilingVerbosity : std::int32_t { kLAYER_NAMES_ONLY, kNONE, kDETAILED };
enum class CudaGraphStrategy : std::int32_t { kDISABLED, kWHOLE_GRAPH_CAPTURE };
enum class EngineValidity : std::int32_t { kVALID, kSUBOPTIMAL, kINVALID };
enum class EngineInvalidityDiagnostics : std::uint64_t {
  kVERSION_MISMATCH = 1,
  kUNSUPPORTED_CC = 2,
  kOLD_CUDA_DRIVER = 4,
  kOLD_CUDA_RUNTIME = 8,
  kINSUFFICIENT_GPU_MEMORY = 16,
  kMALFORMED_ENGINE = 32,
  kCUDA_ERROR = 64
};

struct Dims {
  std::int32_t nbDims;
  std::int64_t d[8];
};

class ILogger {
 public:
  enum class Severity : std::int32_t { kINTERNAL_ERROR, kERROR, kWARNING, kINFO, kVERBOSE };
  virtual ~ILogger() = default;
  virtual void log(Severity severity, const char* message) noexcept = 0;
};

class IHostMemory {
 public:
  virtual ~IHostMemory() = default;
  virtual const void* data() const noexcept = 0;
  virtual std::size_t size() const noexcept = 0;
};

class IRuntimeCache {
 public:
  virtual ~IRuntimeCache() = default;
  virtual IHostMemory* serialize() const noexcept = 0;
  virtual bool deserialize(const void* blob, std::size_t size) noexcept = 0;
};

class IRuntimeConfig {
 public:
  virtual ~IRuntimeConfig() = default;
  virtual IRuntimeCache* createRuntimeCache() const noexcept = 0;
  virtual bool setRuntimeCache(const IRuntimeCache& cache) noexcept = 0;
  virtual bool setCudaGraphStrategy(CudaGraphStrategy strategy) noexcept = 0;
};

class IExecutionContext {
 public:
  virtual ~IExecutionContext() = default;
  virtual bool setInputShape(const char* name, const Dims& shape) noexcept = 0;
  virtual bool setTensorAddress(const char* name, void* address) noexcept = 0;
  virtual bool setNvtxVerbosity(ProfilingVerbosity verbosity) noexcept = 0;
  virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

class ICudaEngine {
 public:
  virtual ~ICudaEngine() = default;
  virtual std::int32_t getNbIOTensors() const noexcept = 0;
  virtual const char* getIOTensorName(std::int32_t index) const noexcept = 0;
  virtual TensorIOMode getTensorIOMode(const char* name) const noexcept = 0;
  virtual DataType getTensorDataType(const char* name) const noexcept = 0;
  virtual Dims getTensorShape(const char* name) const noexcept = 0;
  virtual IExecutionContext* createExecutionContext() noexcept = 0;
  virtual IExecutionContext* createExecutionContext(IRuntimeConfig* config) noexcept = 0;
  virtual IRuntimeConfig* createRuntimeConfig() noexcept = 0;
};

class IRuntime {
 public:
  virtual ~IRuntime() = default;
  virtual ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept = 0;
  virtual void setEngineHostCodeAllowed(bool allowed) noexcept = 0;
  virtual void setDLACore(std::int32_t core) noexcept = 0;
  virtual EngineValidity getEngineValidity(const void* blob, std::int64_t size,
                                           std::uint64_t* diagnostics) const noexcept = 0;
};

class IRefitter {
 public:
  virtual ~IRefitter() = default;
  virtual std::int32_t getMissingWeights(std::int32_t size, const char** names) noexcept = 0;
  virtual bool refitCudaEngine() noexcept = 0;
};

IRuntime* createInferRuntime(ILogger& logger) noexcept;
IRefitter* createInferRefitter(ICudaEngine& engine, ILogger& logger) noexcept;

}  // namespace nvinfer1

extern "C" {
std::int32_t getInferLibMajorVersion() noexcept;
std::int32_t getInferLibMinorVersion() noexcept;
std::int32_t getInferLibPatchVersion() noexcept;
std::int32_t getInferLibBuildVersion() noexcept;
}
