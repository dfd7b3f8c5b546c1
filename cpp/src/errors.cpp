#include <utility>

#include "segdino/segdino.hpp"

namespace segdino {

Error::Error(const std::string& message, std::string expected, std::string got)
    : std::runtime_error(message), expected_(std::move(expected)), got_(std::move(got)) {}

// Defined here, so that the classes' type information is in the library alone: a program catches what it throws.
Error::~Error() = default;
InputError::~InputError() = default;
CheckFailed::~CheckFailed() = default;
MissingComponent::~MissingComponent() = default;
EngineError::~EngineError() = default;

}  // namespace segdino
