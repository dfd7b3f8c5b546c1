/// From an engine's outputs to a head's mask, and whether they are right: pure functions on arrays, the rules of
/// segdino_deploy/evidence.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace segdino::detail {

/// log(T / (1 - T)): the logit at which the sigmoid is T.
double logit_of(double threshold);

/// [classes][pixels] to [pixels]: 0/1 for one class (value > threshold), else the index of the largest value, the first
/// of equals. `threshold`: of the values; a logit's where they are logits.
void mask_from_values(const float* values, int classes, std::size_t pixels, float threshold, std::uint8_t* mask);

/// Sizes of one head's arrays, and how they are read.
struct HeadShape {
  std::size_t images = 1;
  int classes = 1;
  std::size_t pixels = 0;  // of one image
  double threshold = 0.5;  // a probability

  std::size_t masks() const { return images * pixels; }
  std::size_t planes() const { return masks() * static_cast<std::size_t>(classes); }
};

/// What an engine gave for one head; null: the model does not give it.
struct HeadOutputs {
  const std::uint8_t* mask = nullptr;  // [images][pixels]
  const float* probability = nullptr;  // [images][classes][pixels], as the logits
  const float* logits = nullptr;
};

/// Something wrong with an answer, in words, and what was compared. Empty: nothing.
struct Problem {
  std::string detail;
  std::string expected;
  std::string got;

  /// Both in one line.
  void add(const Problem& other);
};

/// Compares one head's outputs for the canary with the reference's logits [images][classes][pixels], which are finite.
///
/// Logits, where the engine gives them, must be within the precision's tolerance. A mask may differ only at pixels
/// whose reference margin is within it (a pixel that the reference is sure of must not change), and only at a small
/// share of all pixels. `precision`: "fp32", "fp16", "bf16" or "int8".
Problem check_answer(const HeadShape& shape, const float* reference, const HeadOutputs& outputs,
                     const std::string& precision);

}  // namespace segdino::detail
