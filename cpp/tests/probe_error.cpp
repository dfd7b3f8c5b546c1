#include "probe_error.hpp"

namespace {
thread_local std::string last_error;
}

void keep_probe_error(const std::string& message) { last_error = message; }

const char* probe_error() { return last_error.c_str(); }
