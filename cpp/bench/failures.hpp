/// Errors for those who read them: one line, a kind and an exit code.
#pragma once

#include <exception>
#include <string>

namespace segdino_bench {

struct Failure {
  std::string message;  // one line
  std::string kind;     // "InputError", "CheckFailed", "MissingComponent", "EngineError", "OutOfMemory", "Unexpected"
  int exit_code = 2;    // those of segdino-deploy: 1 a check failed, 3 a component is missing, 2 the rest
};

Failure failure_of(const std::exception& error);

}  // namespace segdino_bench
