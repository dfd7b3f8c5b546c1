/// What a Segmenter is made of: the model's card and one opened engine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "engine/engine.hpp"
#include "image/view.hpp"

namespace segdino::detail {

/// What Segmenters of one engine share; never changed after opening.
struct Model {
  Bundle bundle;
  Info info;
  std::vector<Tensor> tensors;  // the engine's outputs, in its order
};

/// From the caller's images to masks. The methods are those of Segmenter.
class SegmenterImpl {
 public:
  SegmenterImpl(std::shared_ptr<const Model> model, std::unique_ptr<Engine> engine);

  std::unique_ptr<SegmenterImpl> share() const;
  std::vector<Result> analyse(const ImageView* images, std::size_t count, const Request& request);
  std::vector<DeviceOutput> run_device(const DeviceBatch& batch);

  const Info& info() const { return model_->info; }
  const Timings& timings() const { return timings_; }

 private:
  const Card& card() const { return model_->bundle.manifest.card; }

  /// Null where the head does not give it.
  const Tensor* find(std::size_t head, Kind kind) const;
  void require(Kind kind, const std::string& name) const;

  /// As many images as the engine takes at once, or fewer; fewer than it needs are filled up with the last one.
  void run_piece(const CheckedView* views, std::size_t count, const Request& request, std::vector<Result>& results,
                 Timings& timings);

  /// The last run's answer to image number `index` of it.
  Result read(std::size_t index, const Region& region, const Request& request);
  Mask read_mask(std::size_t index, std::size_t head, int width, int height);
  Planes read_planes(std::size_t index, const Tensor& tensor, int width, int height) const;

  template <typename Value>
  const Value* output(std::size_t index, const Tensor& tensor) const {
    const auto number = static_cast<std::size_t>(&tensor - model_->tensors.data());
    return static_cast<const Value*>(engine_->output(number)) + index * tensor.values();
  }

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::uint8_t> classes_;  // [H][W], where the engine gives no mask
  Timings timings_;
};

/// See Segmenter::open.
std::unique_ptr<SegmenterImpl> open_bundle(const std::filesystem::path& path, const Options& options);

}  // namespace segdino::detail
