#include "failures.hpp"

#include <new>
#include <stdexcept>

#include "segdino/segdino.hpp"

namespace segdino_bench {

Failure failure_of(const std::exception& error) {
  const std::string text = error.what();
  const std::string line = text.substr(0, text.find('\n'));
  const auto is = [&error](auto* kind) { return dynamic_cast<decltype(kind)>(&error) != nullptr; };
  if (is(static_cast<const segdino::CheckFailed*>(nullptr))) return {line, "CheckFailed", 1};
  if (is(static_cast<const segdino::MissingComponent*>(nullptr))) return {line, "MissingComponent", 3};
  if (is(static_cast<const segdino::EngineError*>(nullptr))) return {line, "EngineError", 2};
  if (is(static_cast<const std::bad_alloc*>(nullptr)))
    return {"out of memory: measure smaller batches", "OutOfMemory", 2};
  // Options, image files and folders are the caller's to cure, too, whoever refuses them.
  if (is(static_cast<const std::runtime_error*>(nullptr))) return {line, "InputError", 2};
  return {line, "Unexpected", 2};
}

}  // namespace segdino_bench
