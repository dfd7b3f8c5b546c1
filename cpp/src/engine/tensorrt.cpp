/// TensorRT and TensorRT-RTX on an NVIDIA GPU; which of the two is decided when the library is built.
#include "engine/cuda.hpp"
#include "engine/engine.hpp"
#include "engine/tensorrt_loading.hpp"
#include "engine/tensorrt_session.hpp"

namespace segdino::detail {
namespace {

class TensorRtEngine final : public Engine {
 public:
  /// On the engine's GPU.
  explicit TensorRtEngine(std::shared_ptr<LoadedEngine> loaded)
      : loaded_(std::move(loaded)), session_(std::make_unique<Session>(*loaded_)) {}

  /// On the engine's GPU, whichever thread releases: the last one to go takes the engine with it.
  ~TensorRtEngine() override {
    const cuda::ActiveGpu active(loaded_->gpu.number, std::nothrow);
    session_.reset();
    loaded_.reset();
  }

  TensorRtEngine(const TensorRtEngine&) = delete;
  TensorRtEngine& operator=(const TensorRtEngine&) = delete;

  std::uint8_t* input(int) override { return session_->input(); }

  double run(int batch) override {
    const cuda::ActiveGpu active(loaded_->gpu.number);
    return session_->run(batch);
  }

  const void* output(std::size_t index) const override { return session_->output(index); }

  std::vector<DeviceOutput> run_device(const DeviceBatch& batch) override {
    const cuda::ActiveGpu active(loaded_->gpu.number);
    return session_->run_device(batch);
  }

  std::string device() const override {
    return loaded_->gpu.name + " (compute capability " + loaded_->gpu.compute_capability + ")";
  }

  std::unique_ptr<Engine> share() const override {
    const cuda::ActiveGpu active(loaded_->gpu.number);
    return std::make_unique<TensorRtEngine>(loaded_);
  }

 private:
  std::shared_ptr<LoadedEngine> loaded_;
  std::unique_ptr<Session> session_;
};

}  // namespace

std::unique_ptr<Engine> open_tensorrt(const Opening& opening) {
  const Gpu gpu = require_runnable(opening);
  return std::make_unique<TensorRtEngine>(load_engine(opening, gpu));
}

}  // namespace segdino::detail
