/// Whether the tensors that an engine reads and writes are those of the model's card.
#pragma once

#include <cstdint>

#include "engine/engine.hpp"

namespace segdino::detail {

/// One input or output of an engine. `type`: as NumPy names it; `shape`: -1 where any length is taken.
struct FoundTensor {
  std::string name;
  bool is_input = false;
  std::string type;
  std::vector<std::int64_t> shape;
};

/// InputError where an engine does not read and write what the card says: it is of another export.
void check_tensors(const std::vector<FoundTensor>& found, const Opening& opening);

}  // namespace segdino::detail
