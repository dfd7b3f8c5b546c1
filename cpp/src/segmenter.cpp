/// The public class: nothing but forwarding.
#include <utility>

#include "segmenter_impl.hpp"

namespace segdino {

// The build gives the project's version, such as "0.1.0".
const char* version() noexcept { return SEGDINO_VERSION; }

std::vector<std::string> backends() { return detail::compiled_backends(); }

Segmenter::Segmenter(std::unique_ptr<detail::SegmenterImpl> impl) : impl_(std::move(impl)) {}
Segmenter::~Segmenter() = default;
Segmenter::Segmenter(Segmenter&&) noexcept = default;
Segmenter& Segmenter::operator=(Segmenter&&) noexcept = default;

Segmenter Segmenter::open(const std::filesystem::path& bundle, const Options& options) {
  return Segmenter(detail::open_bundle(bundle, options));
}

Segmenter Segmenter::share() const { return Segmenter(impl_->share()); }

Mask Segmenter::segment(const ImageView& image, OutputSize size) {
  return std::move(analyse(image, {size}).heads.front().mask);
}

std::vector<Mask> Segmenter::segment(const std::vector<ImageView>& images, OutputSize size) {
  std::vector<Mask> masks;
  for (Result& result : analyse(images, {size})) masks.push_back(std::move(result.heads.front().mask));
  return masks;
}

Result Segmenter::analyse(const ImageView& image, const Request& request) {
  return std::move(impl_->analyse(&image, 1, request).front());
}

std::vector<Result> Segmenter::analyse(const std::vector<ImageView>& images, const Request& request) {
  return impl_->analyse(images.data(), images.size(), request);
}

std::vector<DeviceOutput> Segmenter::run_device(const DeviceBatch& batch) { return impl_->run_device(batch); }

const Info& Segmenter::info() const noexcept { return impl_->info(); }

const Timings& Segmenter::timings() const noexcept { return impl_->timings(); }

}  // namespace segdino
