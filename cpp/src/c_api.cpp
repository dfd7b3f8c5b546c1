/// The C API over the C++ one: nothing but translation, and no exception gets out.
#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "segdino/segdino.h"
#include "segdino/segdino.hpp"
#include "text.hpp"

struct segdino_segmenter {
  segdino::Segmenter segmenter;
  std::vector<segdino::Result> results;  // of the last segdino_analyse
};

namespace {

using segdino::InputError;

struct LastError {
  std::string message;
  std::string expected;
  std::string got;
};
thread_local LastError last_error;  // NOLINT: one for each thread is what the API promises

segdino_status failed(segdino_status status, const char* message, const segdino::Error* error = nullptr) noexcept {
  try {
    last_error = {message, error ? error->expected() : "", error ? error->got() : ""};
  } catch (const std::bad_alloc&) {
    last_error = {};
  }
  return status;
}

/// Runs `call`; what it throws becomes a status and the calling thread's last error.
template <typename Call>
segdino_status guarded(Call call) noexcept {
  try {
    last_error = {};
    call();
    return SEGDINO_OK;
  } catch (const segdino::CheckFailed& error) {
    return failed(SEGDINO_CHECK_FAILED, error.what(), &error);
  } catch (const segdino::MissingComponent& error) {
    return failed(SEGDINO_MISSING_COMPONENT, error.what(), &error);
  } catch (const segdino::EngineError& error) {
    return failed(SEGDINO_ENGINE_ERROR, error.what(), &error);
  } catch (const segdino::Error& error) {
    return failed(SEGDINO_INPUT_ERROR, error.what(), &error);
  } catch (const std::bad_alloc&) {
    return failed(SEGDINO_OUT_OF_MEMORY, "out of memory: use smaller images or batches, or free some");
  } catch (const std::exception& error) {
    return failed(SEGDINO_UNEXPECTED, error.what());
  } catch (...) {
    return failed(SEGDINO_UNEXPECTED, "an unknown exception; please report it");
  }
}

template <typename T>
T* required(T* pointer, const char* name) {
  if (pointer == nullptr) throw InputError(std::string(name) + " is null");
  return pointer;
}

/// A structure of the caller's, which may be older (shorter) or newer (longer) than ours: what it lacks is zero.
template <typename T>
T from_caller(const T* given, const char* name) {
  std::size_t size = 0;
  std::memcpy(&size, required(given, name), sizeof size);
  if (size < sizeof size || size > 64 * sizeof(T) || size % sizeof(void*) != 0) {
    throw InputError(std::string(name) + ": struct_size is " + std::to_string(size) + ": set it to sizeof",
                     std::to_string(sizeof(T)), std::to_string(size));
  }
  T known{};
  std::memcpy(&known, given, std::min(size, sizeof known));
  return known;
}

/// As `from_caller`, of what the caller asks for: nothing that this library does not know may be asked.
template <typename T>
T asked_by_caller(const T* given, const char* name) {
  const T known = from_caller(given, name);
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof known; i < known.struct_size; ++i) {
    if (bytes[i] == 0) continue;
    throw InputError(std::string(name) + ": asks for something that this library (" + segdino::version() +
                     ") does not know; use the header that came with it");
  }
  return known;
}

template <typename T>
void to_caller(T value, T* wanted, const char* name) {
  const std::size_t size = from_caller(wanted, name).struct_size;
  value.struct_size = size;
  std::memcpy(wanted, &value, std::min(size, sizeof value));
}

std::string text(const char* words) { return words ? words : ""; }

segdino::Options options_of(const segdino_options* given) {
  segdino::Options options;
  if (given == nullptr) return options;
  const segdino_options known = asked_by_caller(given, "options");
  options.engine = text(known.engine);
  options.backend = text(known.backend);
  options.precision = text(known.precision);
  options.threads = known.threads;
  options.check_canary = known.check_canary != 0;
  options.check_all_files = known.check_only_engine_files == 0;
  options.cache = text(known.cache);
  return options;
}

segdino::ImageView view_of(const segdino_image* given, const std::string& name = "image") {
  const segdino_image known = asked_by_caller(given, name.c_str());
  segdino::ImageView view;
  view.data = known.data;
  view.width = known.width;
  view.height = known.height;
  view.stride = known.stride;
  view.format = static_cast<segdino::PixelFormat>(known.format);  // checked with the view
  view.chroma = known.chroma;
  view.chroma_stride = known.chroma_stride;
  if (known.has_region != 0) {
    view.region = segdino::Region{known.region_x, known.region_y, known.region_width, known.region_height};
  }
  return view;
}

/// What an index may be.
std::string indices(std::size_t count) { return "0 to " + std::to_string(count - 1); }

void copy_exactly(const void* from, std::size_t bytes, void* to, std::size_t size, const char* name) {
  if (size != bytes) {
    throw InputError(std::string(name) + ": its size is " + std::to_string(size) + " bytes: exactly " +
                         std::to_string(bytes) + " are expected",
                     std::to_string(bytes), std::to_string(size));
  }
  std::memcpy(required(to, name), from, bytes);
}

const segdino::HeadInfo& head_of(const segdino_segmenter* segmenter, int head) {
  const auto& heads = required(segmenter, "segmenter")->segmenter.info().heads;
  if (head < 0 || static_cast<std::size_t>(head) >= heads.size()) {
    throw InputError("head " + std::to_string(head) + ": this model has " + std::to_string(heads.size()),
                     indices(heads.size()), std::to_string(head));
  }
  return heads[static_cast<std::size_t>(head)];
}

bool gives(const segdino::HeadInfo& head, const char* output) {
  return std::find(head.outputs.begin(), head.outputs.end(), output) != head.outputs.end();
}

}  // namespace

const char* segdino_version(void) { return segdino::version(); }

const char* segdino_backends(void) {
  static const std::string names = [] {
    std::string text;
    for (const std::string& name : segdino::backends()) text += (text.empty() ? "" : ",") + name;
    return text;
  }();
  return names.c_str();
}

const char* segdino_last_error(void) { return last_error.message.c_str(); }

const char* segdino_last_error_expected(void) { return last_error.expected.c_str(); }

const char* segdino_last_error_got(void) { return last_error.got.c_str(); }

segdino_status segdino_open(const char* bundle, const segdino_options* options, segdino_segmenter** opened) {
  return guarded([&] {
    *required(opened, "opened") = nullptr;
    *opened = new segdino_segmenter{
        segdino::Segmenter::open(std::filesystem::u8path(required(bundle, "bundle")), options_of(options)), {}};
  });
}

segdino_status segdino_share(const segdino_segmenter* segmenter, segdino_segmenter** opened) {
  return guarded([&] {
    *required(opened, "opened") = nullptr;
    *opened = new segdino_segmenter{required(segmenter, "segmenter")->segmenter.share(), {}};
  });
}

void segdino_close(segdino_segmenter* segmenter) { delete segmenter; }

segdino_status segdino_get_info(const segdino_segmenter* segmenter, segdino_info* info) {
  return guarded([&] {
    const segdino::Info& known = required(segmenter, "segmenter")->segmenter.info();
    segdino_info answer{};
    answer.engine = known.engine.c_str();
    answer.backend = known.backend.c_str();
    answer.precision = known.precision.c_str();
    answer.device = known.device.c_str();
    answer.input_width = known.input_width;
    answer.input_height = known.input_height;
    answer.min_batch = known.min_batch;
    answer.max_batch = known.max_batch;
    answer.heads = static_cast<int>(known.heads.size());
    to_caller(answer, info, "info");
  });
}

segdino_status segdino_get_head(const segdino_segmenter* segmenter, int head, segdino_head_info* info) {
  return guarded([&] {
    const segdino::HeadInfo& known = head_of(segmenter, head);
    segdino_head_info answer{};
    answer.name = known.name.c_str();
    answer.family = known.family.c_str();
    answer.num_classes = known.num_classes;
    answer.threshold = known.threshold;
    answer.has_probability = gives(known, "probability") ? 1 : 0;
    answer.has_logits = gives(known, "logits") ? 1 : 0;
    to_caller(answer, info, "info");
  });
}

segdino_status segdino_get_class_name(const segdino_segmenter* segmenter, int head, int index, const char** name) {
  return guarded([&] {
    const auto& names = head_of(segmenter, head).class_names;
    if (index < 0 || static_cast<std::size_t>(index) >= names.size()) {
      throw InputError("class " + std::to_string(index) + ": this head names " + std::to_string(names.size()),
                       indices(names.size()), std::to_string(index));
    }
    *required(name, "name") = names[static_cast<std::size_t>(index)].c_str();
  });
}

segdino_status segdino_segment(segdino_segmenter* segmenter, const segdino_image* image, uint8_t* mask, size_t size) {
  return guarded([&] {
    const segdino::Mask answer = required(segmenter, "segmenter")->segmenter.segment(view_of(image));
    copy_exactly(answer.pixels.data(), answer.pixels.size(), mask, size, "mask");
  });
}

segdino_status segdino_analyse(segdino_segmenter* segmenter, const segdino_image* images, size_t count,
                               int of_model_size, int probability, int logits) {
  return guarded([&] {
    auto& results = required(segmenter, "segmenter")->results;
    results.clear();
    std::vector<segdino::ImageView> views;
    if (count > 0) {
      // The caller's array has elements of the size that the caller knows.
      const std::size_t step = from_caller(required(images, "images"), "image").struct_size;
      const auto* bytes = reinterpret_cast<const unsigned char*>(images);
      for (std::size_t i = 0; i < count; ++i) {
        views.push_back(
            view_of(reinterpret_cast<const segdino_image*>(bytes + i * step), segdino::detail::image_name(i, count)));
      }
    }
    const auto wanted = of_model_size != 0 ? segdino::OutputSize::model : segdino::OutputSize::source;
    results = segmenter->segmenter.analyse(views, {wanted, probability != 0, logits != 0});
  });
}

segdino_status segdino_read(const segdino_segmenter* segmenter, size_t image, int head, segdino_output output,
                            void* values, size_t size) {
  return guarded([&] {
    head_of(segmenter, head);
    const auto& results = segmenter->results;
    if (image >= results.size()) {
      const std::string number = std::to_string(image), had = std::to_string(results.size());
      throw InputError(
          "image " + number + ": the last segdino_analyse had " + had + (had == "0" ? ": call it first" : ""),
          results.empty() ? "none: call segdino_analyse first" : indices(results.size()), number);
    }
    const segdino::HeadResult& answer = results[image].heads[static_cast<std::size_t>(head)];
    if (output == SEGDINO_MASK) {
      copy_exactly(answer.mask.pixels.data(), answer.mask.pixels.size(), values, size, "values");
      return;
    }
    const auto& planes = output == SEGDINO_PROBABILITY ? answer.probability : answer.logits;
    if (!planes || (output != SEGDINO_PROBABILITY && output != SEGDINO_LOGITS)) {
      throw InputError("output: the last segdino_analyse was not asked for it");
    }
    copy_exactly(planes->values.data(), planes->values.size() * sizeof(float), values, size, "values");
  });
}

segdino_status segdino_get_timings(const segdino_segmenter* segmenter, segdino_timings* timings) {
  return guarded([&] {
    const segdino::Timings& known = required(segmenter, "segmenter")->segmenter.timings();
    segdino_timings answer{};
    answer.prepare_ms = known.prepare_ms;
    answer.run_ms = known.run_ms;
    answer.engine_ms = known.engine_ms;
    answer.finish_ms = known.finish_ms;
    to_caller(answer, timings, "timings");
  });
}
