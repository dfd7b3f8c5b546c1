#include "engine/tensorrt_session.hpp"

#include <algorithm>

#include "engine/tensorrt_messages.hpp"

namespace segdino::detail {
namespace {

constexpr std::uintptr_t kAlignment = 256;  // bytes, of what TensorRT reads and writes (setTensorAddress)
constexpr std::size_t kMaxGraphs = 8;       // of one batch size, for as many input addresses; cameras go round a few

// TensorRT-RTX makes CUDA graphs inside, and makes them anew for every new address.
constexpr bool kCapturesItself = this_flavour().compiles_on_device;

}  // namespace

Session::Session(LoadedEngine& loaded)
    : card_(loaded.card),
      tensors_(loaded.outputs),
      gpu_(loaded.gpu),
      what_("cannot run the " + loaded.precision + " engine"),
      stream_(cuda::make_stream()),
      start_(cuda::make_event(true)),
      end_(cuda::make_event(true)),
      produced_(cuda::make_event(false)),
      input_device_(cuda::allocate(input_bytes(card_.max_batch))),
      input_host_(cuda::allocate_pinned(input_bytes(card_.max_batch))),
      can_capture_(!kCapturesItself) {
  for (const Tensor& tensor : tensors_) {
    const std::size_t bytes = tensor.bytes() * static_cast<std::size_t>(card_.max_batch);
    cuda::DeviceMemory device = cuda::allocate(bytes);
    outputs_.push_back({std::move(device), cuda::allocate_pinned(bytes)});
  }
  make_context(loaded);
}

Session::~Session() { static_cast<void>(cudaStreamSynchronize(stream_.get())); }

void Session::make_context(LoadedEngine& loaded) {
  const std::lock_guard<std::mutex> lock(loaded.making);
  const Listening heard;
#ifdef SEGDINO_WITH_TENSORRT_RTX
  config_ = loaded.cache->configure(*loaded.engine);
  context_.reset(config_ ? loaded.engine->createExecutionContext(config_.get()) : nullptr);
#else
  context_.reset(loaded.engine->createExecutionContext());
#endif
  if (!context_) throw heard.failure(what_);
  // The engine keeps its layers' details for the receipt; a running one need not mark them for profilers.
  static_cast<void>(context_->setNvtxVerbosity(nvinfer1::ProfilingVerbosity::kNONE));
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (!context_->setTensorAddress(tensors_[i].name.c_str(), outputs_[i].device.get())) throw heard.failure(what_);
  }
#ifdef SEGDINO_WITH_TENSORRT_RTX
  loaded.cache->save();  // now: a process that is killed has not compiled for nothing
#endif
}

std::size_t Session::input_bytes(int batch) const {
  return std::size_t{3} * static_cast<std::size_t>(batch) * static_cast<std::size_t>(card_.input_height) *
         static_cast<std::size_t>(card_.input_width);
}

template <typename Work>
auto Session::recovering(Work work) {
  try {
    return work();
  } catch (...) {
    batch_ = 0;
    static_cast<void>(cudaStreamSynchronize(stream_.get()));
    static_cast<void>(cudaGetLastError());  // the first error is the one to tell
    drop_graphs();
    throw;
  }
}

double Session::run(int batch) {
  return recovering([&] {
    prepare(batch, input_device_.get());
    cuda::copy(input_device_.get(), input_host_.get(), input_bytes(batch), cudaMemcpyHostToDevice, stream_.get());
    cuda::check(cudaEventRecord(start_.get(), stream_.get()), "cudaEventRecord");
    enqueue(input_device_.get());
    cuda::check(cudaEventRecord(end_.get(), stream_.get()), "cudaEventRecord");
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const std::size_t bytes = tensors_[i].bytes() * static_cast<std::size_t>(batch);
      cuda::copy(outputs_[i].host.get(), outputs_[i].device.get(), bytes, cudaMemcpyDeviceToHost, stream_.get());
    }
    cuda::synchronize(stream_.get());
    return cuda::elapsed_ms(start_.get(), end_.get());
  });
}

std::vector<DeviceOutput> Session::run_device(const DeviceBatch& batch) {
  const int here = gpu_.number, there = cuda::gpu_of(batch.data);
  if (there != here) {
    const std::string where = there < 0 ? "no memory of a GPU" : "on GPU " + std::to_string(there);
    const std::string expected = "one on GPU " + std::to_string(here);
    throw InputError("image is " + where + ": " + expected + ", where the engine is, is expected", expected, where);
  }
  return recovering([&] {
    if (batch.stream) cuda::wait_for(stream_.get(), static_cast<cudaStream_t>(batch.stream), produced_.get());
    const void* const address = place(batch);
    prepare(batch.count, address);
    enqueue(address);
    cuda::synchronize(stream_.get());  // also: the image may go when this returns
    std::vector<DeviceOutput> outputs;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const std::size_t bytes = tensors_[i].bytes() * static_cast<std::size_t>(batch.count);
      outputs.push_back({tensors_[i].name, outputs_[i].device.get(), bytes});
    }
    return outputs;
  });
}

/// Where the engine reads an image of the caller's: where it is, unless TensorRT cannot, or could but slowly.
/// TensorRT-RTX captures its graph anew for every address that is not the last one's, which takes far longer than a
/// copy on the GPU.
const void* Session::place(const DeviceBatch& batch) {
  if (reinterpret_cast<std::uintptr_t>(batch.data) % kAlignment == 0 && !kCapturesItself) return batch.data;
  cuda::copy(input_device_.get(), batch.data, input_bytes(batch.count), cudaMemcpyDeviceToDevice, stream_.get());
  return input_device_.get();
}

/// Sets the batch, and makes the graph of an address from the second time on that batch and address are these.
void Session::prepare(int batch, const void* address) {
  if (batch != batch_) {
    drop_graphs();  // what a context keeps for a shape is in its graphs, and changes with the shape
    set_batch(batch);
  }
  if (can_capture_ && was_seen(address) && !graph_of(address)) capture(address);
}

void Session::set_batch(int batch) {
  const Listening heard;
  const nvinfer1::Dims shape{4, {batch, card_.input_height, card_.input_width, 3}};
  if (!context_->setInputShape(kInput, shape)) throw heard.failure(what_);
  batch_ = batch;
}

/// Engines with loops or conditions cannot be captured: then, and after any other refusal, none is.
void Session::capture(const void* address) {
  while (graphs_.size() >= kMaxGraphs) graphs_.pop_front();
  try {
    cuda::begin_capture(stream_.get());
    execute(address);
    graphs_.emplace_back(address, cuda::end_capture(stream_.get()));
  } catch (const EngineError&) {
    cuda::cancel_capture(stream_.get());
    can_capture_ = false;
  } catch (...) {
    cuda::cancel_capture(stream_.get());
    throw;
  }
}

/// Puts the engine's work on the stream.
void Session::enqueue(const void* address) {
  if (const cuda::Graph* graph = graph_of(address)) {
    cuda::check(cudaGraphLaunch(graph->get(), stream_.get()), "cudaGraphLaunch");
    return;
  }
  execute(address);
  if (was_seen(address)) return;
  if (seen_.size() >= kMaxGraphs) seen_.pop_front();
  seen_.push_back(address);
}

/// Reads the image at `address`, writes the outputs that are bound.
void Session::execute(const void* address) {
  const Listening heard;
  // TensorRT only reads its inputs, but takes all addresses with one function.
  if (!context_->setTensorAddress(kInput, const_cast<void*>(address)) || !context_->enqueueV3(stream_.get())) {
    throw heard.failure(what_);
  }
}

void Session::drop_graphs() {
  graphs_.clear();
  seen_.clear();
}

bool Session::was_seen(const void* address) const {
  return std::find(seen_.begin(), seen_.end(), address) != seen_.end();
}

cuda::Graph* Session::graph_of(const void* address) {
  const auto found =
      std::find_if(graphs_.begin(), graphs_.end(), [&](const auto& graph) { return graph.first == address; });
  return found == graphs_.end() ? nullptr : &found->second;
}

}  // namespace segdino::detail
