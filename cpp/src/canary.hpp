/// The canary: a small input with the reference's answer. The rules are segdino_deploy/evidence.py's `check_canary`.
#pragma once

#include "engine/engine.hpp"

namespace segdino::detail {

/// Runs the canary of the engine's source. CheckFailed where the answer is wrong; InputError where there is no canary.
void check_canary(const Bundle& bundle, const EngineRecord& record, Engine& engine);

}  // namespace segdino::detail
