/// From the caller's images to masks.
#include "segmenter_impl.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "answer.hpp"
#include "image/resize.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

}  // namespace

SegmenterImpl::SegmenterImpl(std::shared_ptr<const Model> model, std::unique_ptr<Engine> engine)
    : model_(std::move(model)), engine_(std::move(engine)) {}

std::unique_ptr<SegmenterImpl> SegmenterImpl::share() const {
  return std::make_unique<SegmenterImpl>(model_, engine_->share());
}

std::vector<Result> SegmenterImpl::analyse(const ImageView* images, std::size_t count, const Request& request) {
  std::vector<CheckedView> views;
  views.reserve(count);
  for (std::size_t i = 0; i < count; ++i) views.push_back(check_view(images[i], image_name(i, count)));
  if (request.probability) require(Kind::probability, "probability");
  if (request.logits) require(Kind::logits, "logits");
  Timings timings;
  std::vector<Result> results;
  results.reserve(count);
  const auto largest = static_cast<std::size_t>(card().max_batch);
  for (std::size_t start = 0; start < count; start += largest) {
    run_piece(views.data() + start, std::min(largest, count - start), request, results, timings);
  }
  for (Result& result : results) result.timings = timings;
  timings_ = timings;
  return results;
}

std::vector<DeviceOutput> SegmenterImpl::run_device(const DeviceBatch& batch) {
  if (batch.data == nullptr) throw InputError("run_device: data is null: an address on the GPU is expected");
  if (batch.count < card().min_batch || batch.count > card().max_batch) {
    const std::string takes = card().is_fixed_batch()
                                  ? std::to_string(card().min_batch)
                                  : std::to_string(card().min_batch) + " to " + std::to_string(card().max_batch);
    throw InputError("image holds a batch of " + std::to_string(batch.count) + ": this model takes " + takes, takes,
                     std::to_string(batch.count));
  }
  const auto began = Clock::now();
  std::vector<DeviceOutput> outputs = engine_->run_device(batch);
  timings_ = Timings{};
  timings_.run_ms = timings_.engine_ms = ms_since(began);
  return outputs;
}

const Tensor* SegmenterImpl::find(std::size_t head, Kind kind) const {
  const auto& all = model_->tensors;
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Tensor& tensor) { return tensor.head == head && tensor.kind == kind; });
  return found == all.end() ? nullptr : &*found;
}

void SegmenterImpl::require(Kind kind, const std::string& name) const {
  for (std::size_t head = 0; head < info().heads.size(); ++head) {
    if (find(head, kind) != nullptr) continue;
    const std::string has = joined(info().heads[head].outputs);
    throw InputError(name + " was asked for: this model gives " + has + "; export it with --outputs mask," + name, name,
                     has);
  }
}

void SegmenterImpl::run_piece(const CheckedView* views, std::size_t count, const Request& request,
                              std::vector<Result>& results, Timings& timings) {
  const int height = card().input_height, width = card().input_width;
  const std::size_t frame = std::size_t{3} * static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  const int batch = std::max(static_cast<int>(count), card().min_batch);
  auto began = Clock::now();
  std::uint8_t* input = engine_->input(batch);
  for (std::size_t i = 0; i < count; ++i) {
    resize_rgb(views[i], width, height, card().resize_filter, input + i * frame);
  }
  for (std::size_t i = count; i < static_cast<std::size_t>(batch); ++i) {
    std::memcpy(input + i * frame, input + (count - 1) * frame, frame);
  }
  timings.prepare_ms += ms_since(began);
  began = Clock::now();
  timings.engine_ms += engine_->run(batch);
  timings.run_ms += ms_since(began);
  began = Clock::now();
  for (std::size_t i = 0; i < count; ++i) results.push_back(read(i, views[i].region, request));
  timings.finish_ms += ms_since(began);
}

Result SegmenterImpl::read(std::size_t index, const Region& region, const Request& request) {
  const bool of_source = request.size == OutputSize::source;
  const int width = of_source ? region.width : card().input_width;
  const int height = of_source ? region.height : card().input_height;
  Result result;
  for (std::size_t head = 0; head < info().heads.size(); ++head) {
    HeadResult answer;
    answer.head = info().heads[head].name;
    answer.mask = read_mask(index, head, width, height);
    if (request.probability) answer.probability = read_planes(index, *find(head, Kind::probability), width, height);
    if (request.logits) answer.logits = read_planes(index, *find(head, Kind::logits), width, height);
    result.heads.push_back(std::move(answer));
  }
  return result;
}

Mask SegmenterImpl::read_mask(std::size_t index, std::size_t head, int width, int height) {
  const std::uint8_t* classes = nullptr;  // [H][W]
  if (const Tensor* mask = find(head, Kind::mask)) {
    classes = output<std::uint8_t>(index, *mask);
  } else {
    const Tensor* logits = find(head, Kind::logits);
    const Tensor& values = logits ? *logits : *find(head, Kind::probability);
    const double threshold = info().heads[head].threshold;
    const std::size_t pixels = static_cast<std::size_t>(values.height) * static_cast<std::size_t>(values.width);
    classes_.resize(pixels);
    mask_from_values(output<float>(index, values), values.channels, pixels,
                     static_cast<float>(logits ? logit_of(threshold) : threshold), classes_.data());
    classes = classes_.data();
  }
  Mask mask{width, height, {}};
  mask.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  resize_mask(classes, card().input_width, card().input_height, width, height, mask.pixels.data());
  return mask;
}

Planes SegmenterImpl::read_planes(std::size_t index, const Tensor& tensor, int width, int height) const {
  Planes planes{tensor.channels, width, height, {}};
  const std::size_t size = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  planes.values.resize(static_cast<std::size_t>(tensor.channels) * size);
  const float* values = output<float>(index, tensor);  // [C][H][W]
  for (std::size_t channel = 0; channel < static_cast<std::size_t>(tensor.channels); ++channel) {
    resize_plane(values, tensor.width, tensor.height, width, height, planes.values.data() + channel * size);
    values += static_cast<std::size_t>(tensor.height) * static_cast<std::size_t>(tensor.width);
  }
  return planes;
}

}  // namespace segdino::detail
