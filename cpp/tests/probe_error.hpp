/// How a probe tells Python what was thrown.
///
///     extern "C" SEGDINO_API int probe_logit(double threshold, double* logit) {
///       return probe([&] { *logit = segdino::detail::logit_of(threshold); });
///     }
#pragma once

#include <exception>
#include <string>

#include "segdino/export.h"

/// What the calling thread's last failed probe threw.
extern "C" SEGDINO_API const char* probe_error();

void keep_probe_error(const std::string& message);

/// Runs `function`. 0; or 1 where it has thrown, with the message in probe_error().
template <typename Function>
int probe(Function&& function) {
  try {
    function();
    return 0;
  } catch (const std::exception& error) {
    keep_probe_error(error.what());
    return 1;
  }
}
