/// From a bundle to a Segmenter: which engine, whether its files are those that were written, the canary.
#include <chrono>
#include <exception>
#include <future>
#include <system_error>
#include <thread>
#include <utility>

#include "canary.hpp"
#include "segmenter_impl.hpp"

namespace segdino::detail {
namespace {

Info info_of(const Bundle& bundle, const EngineRecord& record, const Engine& engine) {
  const Card& card = bundle.manifest.card;
  Info info;
  info.engine = record.name;
  info.backend = record.backend;
  info.precision = record.precision;
  info.device = engine.device();
  info.input_width = card.input_width;
  info.input_height = card.input_height;
  info.min_batch = card.min_batch;
  info.max_batch = card.max_batch;
  info.heads = card.heads;
  return info;
}

/// A check in another thread, while the engine is opened: hashing takes a processor that opening mostly leaves free.
template <typename Check>
std::future<void> beside(const Check& check) {
  try {
    return std::async(std::launch::async, check);
  } catch (const std::system_error&) {  // no more threads
    return std::async(std::launch::deferred, check);
  }
}

/// No engine is given out before all its files are known to be those that were written. `others`: the check of the
/// others, begun once for all engines that are tried.
std::unique_ptr<Engine> open_checked(const Bundle& bundle, const EngineRecord& record, const Options& options,
                                     std::future<void>& others) {
  require_compiled(record);  // first: hashing takes time
  check_files_of(bundle, record);
  std::future<void> weights = beside([&bundle, &record] { check_weights_of(bundle, record); });
  if (options.check_all_files && !others.valid()) {
    others = beside([&bundle, &record] { check_files_beside(bundle, record); });
  }
  try {
    std::unique_ptr<Engine> engine = open_engine({bundle, record, options});
    if (options.check_canary) check_canary(bundle, record, *engine);
    weights.get();
    return engine;
  } catch (...) {
    if (weights.valid()) weights.get();  // weights that were changed are told before what came of them
    throw;
  }
}

/// The first engine that runs here of those that are allowed; where none does, the first one's reason is told.
std::unique_ptr<SegmenterImpl> open_first(Bundle bundle, const Options& options) {
  const std::vector<EngineRecord> engines = choose_engines(bundle, options);
  std::future<void> others;  // behind what it reads, so that it ends before that goes
  std::exception_ptr missing;
  for (const EngineRecord& record : engines) {
    try {
      std::unique_ptr<Engine> engine = open_checked(bundle, record, options, others);
      if (others.valid()) others.get();
      Info info = info_of(bundle, record, *engine);
      std::vector<Tensor> tensors = output_tensors(bundle.manifest.card);
      auto model = std::make_shared<const Model>(Model{std::move(bundle), std::move(info), std::move(tensors)});
      return std::make_unique<SegmenterImpl>(std::move(model), std::move(engine));
    } catch (const MissingComponent&) {
      if (!missing) missing = std::current_exception();
    }
  }
  if (others.valid()) others.get();  // a damaged bundle is told before an engine that is not for this machine
  std::rethrow_exception(missing);   // choose_engines gives at least one
}

}  // namespace

// Somebody may write the bundle between two of our reads: then it is read again.
std::unique_ptr<SegmenterImpl> open_bundle(const std::filesystem::path& path, const Options& options) {
  if (options.threads < 0) {
    throw InputError(
        "threads is " + std::to_string(options.threads) + ": 0 (the backend's own choice) or more is expected",
        "0 or more", std::to_string(options.threads));
  }
  constexpr int kRetries = 20;
  for (int i = 0; i < kRetries; ++i) {
    try {
      return open_first(read_bundle(path), options);
    } catch (const BundleChanged&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  return open_first(read_bundle(path), options);
}

}  // namespace segdino::detail
