#include "platform.hpp"

#include <dlfcn.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <system_error>

extern char** environ;  // NOLINT: POSIX names it so, and no header declares it

namespace segdino_bench {
namespace {

namespace fs = std::filesystem;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

/// What follows `name` and a colon in a file of the system; empty where it has no such line.
std::string entry_of(const char* file, const std::string& name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(':');
    if (line.compare(0, name.size(), name) != 0 || colon == std::string::npos) continue;
    const auto begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

[[noreturn]] void fail(const std::string& what, int code) {
  throw std::runtime_error(what + ": " + std::generic_category().message(code));
}

}  // namespace

std::string machine_name() {
  const std::string name = entry_of("/proc/cpuinfo", "model name");
  if (!name.empty()) return name;
  utsname system{};
  return uname(&system) < 0 ? "unknown" : system.machine;
}

std::string system_name() {
  utsname system{};
  return uname(&system) < 0 ? "unknown" : std::string(system.sysname) + " " + system.release;
}

double peak_memory_mib() {
  // Of this program alone: what getrusage tells counts the memory of the process that has started it, too.
  const std::string peak = entry_of("/proc/self/status", "VmHWM");
  if (!peak.empty()) return std::stod(peak) / 1024;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
#else
  return static_cast<double>(usage.ru_maxrss) / 1024;
#endif
}

fs::path own_path(const char* called_as) {
  std::error_code unknown;
  const fs::path found = fs::read_symlink("/proc/self/exe", unknown);
  return unknown ? fs::path(called_as) : found;
}

std::string library_path() {
  void* const symbol = dlsym(RTLD_DEFAULT, "segdino_version");  // not found where the library is a static one
  Dl_info found{};
  if (symbol == nullptr || dladdr(symbol, &found) == 0 || found.dli_fname == nullptr) return "";
  return found.dli_fname;
}

std::string output_of(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe(ends) != 0) fail("no pipe for " + command.front(), errno);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));  // which it leaves alone
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child = 0;
  const int refused = posix_spawnp(&child, words.front(), &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  char piece[4096];
  for (ssize_t size = 1; refused == 0 && size != 0;) {
    size = read(ends[0], piece, sizeof piece);
    if (size > 0) output.append(piece, static_cast<std::size_t>(size));
    if (size < 0 && errno != EINTR) break;
  }
  close(ends[0]);
  if (refused != 0) fail(command.front(), refused);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (status != 0) throw std::runtime_error(command.front() + ": the process that was started has failed");
  return output;
}

std::FILE* take_stdout() {
  std::fflush(stdout);
  const int own = dup(STDOUT_FILENO);
  std::FILE* file = own < 0 ? nullptr : fdopen(own, "wb");
  if (file == nullptr || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) fail("stdout", errno);
  return file;
}

void write_atomically(const fs::path& file, const std::string& content) {
  fs::path partial = file;
  partial += ".partial-" + std::to_string(getpid());
  File out(std::fopen(partial.c_str(), "wb"));
  if (!out) fail(file.string(), errno);
  const bool is_written = std::fwrite(content.data(), 1, content.size(), out.get()) == content.size() &&
                          std::fflush(out.get()) == 0 && fsync(fileno(out.get())) == 0;
  const int code = errno;
  out.reset();
  std::error_code failed;
  if (is_written) fs::rename(partial, file, failed);
  if (is_written && !failed) return;
  std::error_code ignored;
  fs::remove(partial, ignored);
  fail(file.string(), failed ? failed.value() : code);
}

}  // namespace segdino_bench
