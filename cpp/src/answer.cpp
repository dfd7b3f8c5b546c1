#include "answer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <locale>
#include <numeric>
#include <sstream>

#include "segdino/segdino.hpp"

namespace segdino::detail {
namespace {

constexpr std::size_t kBlock = 1024;  // pixels: the best values so far stay in the processor's first cache

/// What a precision may change: the largest relative error of the logits, and the smallest share of the pixels that
/// keep their class.
struct Tolerance {
  const char* precision;
  double error;
  double agreement;
};
constexpr Tolerance kTolerances[] = {
    {"fp32", 1e-4, 0.999}, {"fp16", 2e-2, 0.995}, {"bf16", 8e-2, 0.98}, {"int8", 3e-1, 0.95}};

const Tolerance& tolerance_of(const std::string& precision) {
  const auto found = std::find_if(std::begin(kTolerances), std::end(kTolerances),
                                  [&](const Tolerance& one) { return one.precision == precision; });
  if (found == std::end(kTolerances)) throw InputError("precision: '" + precision + "' has no tolerance");
  return *found;
}

/// Of up to kBlock pixels, whose classes are `pixels` values apart from each other.
void argmax_block(const float* values, int classes, std::size_t pixels, std::size_t count, std::uint8_t* mask) {
  std::array<float, kBlock> best;
  std::copy_n(values, count, best.begin());
  std::fill_n(mask, count, std::uint8_t{0});
  for (int c = 1; c < classes; ++c) {
    values += pixels;
    for (std::size_t i = 0; i < count; ++i) {
      // As NumPy's argmax: the first of equals, and the first NaN where there is one, which is equal to nothing.
      const bool is_better = !(values[i] <= best[i]) && !std::isnan(best[i]);
      best[i] = is_better ? values[i] : best[i];
      mask[i] = is_better ? static_cast<std::uint8_t>(c) : mask[i];
    }
  }
}

/// [images][classes][pixels] to [images][pixels].
std::vector<std::uint8_t> masks_from_values(const HeadShape& shape, const float* values, double threshold) {
  std::vector<std::uint8_t> masks(shape.masks());
  const std::size_t planes = static_cast<std::size_t>(shape.classes) * shape.pixels;
  for (std::size_t n = 0; n < shape.images; ++n) {
    mask_from_values(values + n * planes, shape.classes, shape.pixels, static_cast<float>(threshold),
                     masks.data() + n * shape.pixels);
  }
  return masks;
}

/// max(1, largest |logit|): what relative errors are relative to.
double scale_of(const HeadShape& shape, const float* logits) {
  return std::accumulate(logits, logits + shape.planes(), 1.0,
                         [](double scale, float logit) { return std::max(scale, std::abs(double{logit})); });
}

/// max |difference| / scale. NaN counts as infinite.
double relative_error(const HeadShape& shape, const float* reference, const float* logits, double scale) {
  double largest = 0;
  for (std::size_t i = 0; i < shape.planes(); ++i) {
    const double difference = std::abs(double{reference[i]} - double{logits[i]});
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest / scale;
}

/// How far a pixel, whose classes are `pixels` values apart, is from changing class: its distance to the threshold, or
/// best minus second best.
float margin_of(const float* logits, int classes, std::size_t pixels, float threshold) {
  if (classes == 1) return std::abs(*logits - threshold);
  float best = *logits, second = -std::numeric_limits<float>::infinity();
  for (int c = 1; c < classes; ++c) {
    logits += pixels;
    second = std::max(second, std::min(*logits, best));
    best = std::max(best, *logits);
  }
  return best - second;
}

/// Whether each pixel has another class than the reference gives it, [images][pixels].
std::vector<bool> different_pixels(const HeadShape& shape, const float* reference, const HeadOutputs& outputs) {
  const std::vector<std::uint8_t> expected = masks_from_values(shape, reference, logit_of(shape.threshold));
  std::vector<std::uint8_t> made;
  const bool is_of_logits = outputs.mask == nullptr && outputs.logits != nullptr;
  const bool is_of_probability = outputs.mask == nullptr && !is_of_logits;
  if (is_of_logits) made = masks_from_values(shape, outputs.logits, logit_of(shape.threshold));
  if (is_of_probability) made = masks_from_values(shape, outputs.probability, shape.threshold);
  const std::uint8_t* mask = outputs.mask == nullptr ? made.data() : outputs.mask;
  std::vector<bool> differs(shape.masks());
  for (std::size_t i = 0; i < differs.size(); ++i) differs[i] = mask[i] != expected[i];
  if (!is_of_probability) return differs;
  // A NaN is no probability, even where it happens to be read as the right class. (Of logits the error tells.)
  const std::size_t planes = static_cast<std::size_t>(shape.classes) * shape.pixels;
  for (std::size_t i = 0; i < shape.planes(); ++i) {
    if (std::isnan(outputs.probability[i])) differs[i / planes * shape.pixels + i % shape.pixels] = true;
  }
  return differs;
}

/// The largest margin of a pixel that differs, relative; 0 where none does.
double worst_margin(const HeadShape& shape, const float* reference, const std::vector<bool>& differs, double scale) {
  const std::size_t planes = static_cast<std::size_t>(shape.classes) * shape.pixels;
  const auto threshold = static_cast<float>(logit_of(shape.threshold));
  float worst = 0;
  for (std::size_t i = 0; i < differs.size(); ++i) {
    if (!differs[i]) continue;
    const float* logits = reference + i / shape.pixels * planes + i % shape.pixels;
    worst = std::max(worst, margin_of(logits, shape.classes, shape.pixels, threshold));
  }
  return double{worst} / scale;
}

/// As Python's formats ".2e" and ".2f", whatever the program's locale is.
std::string formatted(double value, std::ios_base::fmtflags format, int digits) {
  std::ostringstream stream;
  stream.imbue(std::locale::classic());
  stream.precision(digits);
  stream.setf(format, std::ios_base::floatfield);
  stream << value;
  return stream.str();
}
std::string scientific(double value, int digits) { return formatted(value, std::ios_base::scientific, digits); }
std::string percent(double share) { return formatted(100 * share, std::ios_base::fixed, 2) + "%"; }

}  // namespace

double logit_of(double threshold) { return std::log(threshold / (1 - threshold)); }

void mask_from_values(const float* values, int classes, std::size_t pixels, float threshold, std::uint8_t* mask) {
  if (classes == 1) {
    std::transform(values, values + pixels, mask,
                   [threshold](float value) { return static_cast<std::uint8_t>(value > threshold); });
    return;
  }
  for (std::size_t start = 0; start < pixels; start += kBlock) {
    argmax_block(values + start, classes, pixels, std::min(kBlock, pixels - start), mask + start);
  }
}

void Problem::add(const Problem& other) {
  const auto append = [](std::string& text, const std::string& more) {
    if (!text.empty() && !more.empty()) text += "; ";
    text += more;
  };
  append(detail, other.detail);
  append(expected, other.expected);
  append(got, other.got);
}

Problem check_answer(const HeadShape& shape, const float* reference, const HeadOutputs& outputs,
                     const std::string& precision) {
  const Tolerance& allowed = tolerance_of(precision);
  const double scale = scale_of(shape, reference);
  const std::vector<bool> differs = different_pixels(shape, reference, outputs);
  Problem problem;
  if (outputs.logits != nullptr) {
    const double error = relative_error(shape, reference, outputs.logits, scale);
    const std::string got = scientific(error, 2), limit = scientific(allowed.error, 0);
    if (!(error <= allowed.error)) {
      problem.add({"relative logit error " + got + ", allowed " + limit, "relative logit error " + limit, got});
    }
  }
  const double worst = worst_margin(shape, reference, differs, scale);
  if (worst > 2 * allowed.error) {  // two logits may move towards each other
    const std::string got = scientific(worst, 2), limit = scientific(2 * allowed.error, 0);
    problem.add({"a pixel with margin " + got + " changed class, allowed " + limit, "changed margin " + limit, got});
  }
  const auto same = static_cast<double>(std::count(differs.begin(), differs.end(), false));
  const double agreement = same / static_cast<double>(differs.size());
  if (agreement < allowed.agreement) {
    problem.add({"only " + percent(agreement) + " of the pixels keep their class",
                 percent(allowed.agreement) + " of the pixels", percent(agreement)});
  }
  return problem;
}

}  // namespace segdino::detail
