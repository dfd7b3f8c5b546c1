/// What the operating system knows. All that is not in the standard library is here.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace segdino_bench {

/// The processor's name where the system tells it.
std::string machine_name();

/// Such as "Linux 6.1".
std::string system_name();

/// The most memory that this process has held, in MiB.
double peak_memory_mib();

/// This program's file; `called_as` where the system does not tell.
std::filesystem::path own_path(const char* called_as);

/// libsegdino's file; empty where it is part of this program.
std::string library_path();

/// Runs a program and waits for its end. Gives back what it wrote to stdout; stderr is this process's.
/// Throws std::runtime_error, in one line, where it cannot be started or ends with another status than 0.
std::string output_of(const std::vector<std::string>& command);

/// Stdout for nobody but the caller: what libraries print from now on goes to stderr. To be closed by the caller.
std::FILE* take_stdout();

/// Replaces a file as a whole: a reader sees the former content or this one. Throws std::runtime_error, in one line.
void write_atomically(const std::filesystem::path& file, const std::string& content);

}  // namespace segdino_bench
