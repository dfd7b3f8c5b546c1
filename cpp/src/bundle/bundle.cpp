#include "bundle/bundle.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <fstream>
#include <mutex>
#include <numeric>
#include <system_error>
#include <thread>

#include "bundle/sha256.hpp"
#include "text.hpp"

namespace segdino::detail {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kCommit = ".commit";  // a change that is being moved into place; see segdino_deploy/bundle.py
constexpr std::uint64_t kLargestManifest = std::uint64_t{64} << 20;  // bytes
constexpr int kRetries = 20;
constexpr std::chrono::milliseconds kPause{50};  // between two of them

/// Without the separators at its end, as Python shows a path.
fs::path without_end(const fs::path& path) {
  return path.has_relative_path() && !path.has_filename() ? path.parent_path() : path;
}

/// Whether a change is being moved into place, or was cut off while it was.
bool is_being_written(const fs::path& bundle) {
  std::error_code absent;
  return fs::is_regular_file(bundle / kCommit / kManifest, absent);
}

/// Waits for another program's change to be complete. Finishing a killed program's is left to Python, whose lock says
/// which of the two it is: here nothing is written.
void wait_for_writer(const fs::path& bundle) {
  for (int i = 0; i < kRetries && is_being_written(bundle); ++i) std::this_thread::sleep_for(kPause);
  if (!is_being_written(bundle)) return;
  throw InputError(bundle.string() + ": a change to it is not complete; finish it with: segdino-deploy inspect " +
                   shell_quoted(bundle.string()));
}

std::string read_manifest(const fs::path& bundle) {
  const fs::path file = bundle / kManifest;
  std::error_code absent;
  if (!fs::is_regular_file(file, absent)) throw InputError(bundle.string() + ": not a bundle (no manifest.json)");
  std::ifstream stream(file, std::ios::binary);
  const std::uintmax_t size = fs::file_size(file, absent);
  if (!stream || absent) throw InputError(file.string() + ": cannot be read; check its permissions");
  if (size > kLargestManifest) {
    const std::string limit = std::to_string(kLargestManifest) + " bytes at most";
    throw InputError(file.string() +
                         ": damaged, not a manifest of this version; copy the bundle again, or remove it (" + limit +
                         " are expected, got " + std::to_string(size) + ")",
                     limit, std::to_string(size));
  }
  std::string text(static_cast<std::size_t>(size), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

/// What is wrong with a file, in words; nothing where it is as it was written.
struct Difference {
  std::string what;
  std::string expected;
  std::string got;
};

enum class Compare { size, content };

Difference difference_of(const fs::path& file, const FileRecord& record, Compare compare) {
  const auto bytes = [](std::uintmax_t count) { return std::to_string(count) + " bytes"; };
  std::error_code absent;
  if (!fs::is_regular_file(file, absent)) return {"is missing", "a file of " + bytes(record.size_bytes), "none"};
  const auto changed = [](const char* what) {
    return std::string("was changed since it was written (its ") + what + " differs)";
  };
  const std::uintmax_t size = fs::file_size(file, absent);
  if (absent) return {"is missing", "a file of " + bytes(record.size_bytes), "none"};
  if (size != record.size_bytes) return {changed("size"), bytes(record.size_bytes), bytes(size)};
  if (compare == Compare::size) return {};
  const std::string sha256 = sha256_of(file);
  if (sha256 != record.sha256) return {changed("sha256"), record.sha256, sha256};
  return {};
}

/// Threads that run `work`, beside the caller; waited for whatever happens. Fewer where the system has no more.
class Helpers {
 public:
  template <typename Work>
  Helpers(std::size_t count, const Work& work) {
    threads_.reserve(count);
    try {
      while (threads_.size() < count) threads_.emplace_back(work);
    } catch (const std::exception&) {  // no more threads, or no memory for one
      return;                          // the caller and those that have started do all of it
    }
  }
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;
  ~Helpers() {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::vector<std::thread> threads_;
};

/// In the order of `records`, the largest first for the sake of time.
std::vector<Difference> differences_of(const Bundle& bundle, const std::vector<const FileRecord*>& records,
                                       Compare compare) {
  std::vector<std::size_t> order(records.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return records[a]->size_bytes > records[b]->size_bytes; });
  std::vector<Difference> differences(records.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < order.size(); i = next++) {
        differences[order[i]] = difference_of(bundle.file(records[order[i]]->name), *records[order[i]], compare);
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!failure) failure = std::current_exception();
      next = order.size();
    }
  };
  {
    const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
    const Helpers helpers(std::min(cores, std::max<std::size_t>(1, records.size())) - 1, work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
  return differences;
}

/// The files beside an engine's own hold its weights: numbers, nothing that is parsed.
bool is_weights_of(const EngineRecord& engine, const std::string& name) {
  const auto& companions = engine.companions;
  return std::find(companions.begin(), companions.end(), name) != companions.end();
}

/// What building an engine again replaces: its files, and the recipe that an int8 engine has beside it.
bool is_replaced_with(const EngineRecord& engine, const std::string& name) {
  return name == engine.file || is_weights_of(engine, name) ||
         fs::path(name) == fs::path(engine.file).replace_extension(".toml");
}

/// The command that makes an engine's file again; of other files, of which engines are built, the export.
std::string how_to_rebuild(const Bundle& bundle, const std::string& name) {
  for (const EngineRecord& engine : bundle.manifest.engines) {
    if (is_replaced_with(engine, name)) {
      return ", or build the engine again: " + rebuild_command(engine, bundle.path, /*same_targets=*/true);
    }
  }
  return ", or export it anew";
}

/// Whether the engine cannot be run without this file.
bool is_run_with(const EngineRecord& engine, const std::string& name) {
  return name == engine.file || (engine.strip_weights && name == engine.source) || is_weights_of(engine, name);
}

template <typename IsWanted>
std::vector<const FileRecord*> records_of(const Bundle& bundle, const IsWanted& is_wanted) {
  std::vector<const FileRecord*> records;
  for (const FileRecord& record : bundle.manifest.files) {
    if (is_wanted(record.name)) records.push_back(&record);
  }
  return records;
}

bool are_equal(const std::vector<FileRecord>& a, const std::vector<FileRecord>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const FileRecord& one, const FileRecord& other) {
    return one.name == other.name && one.sha256 == other.sha256;
  });
}

/// InputError for the first of the records whose file differs.
void require_unchanged(const Bundle& bundle, const std::vector<const FileRecord*>& records,
                       Compare compare = Compare::content) {
  const std::vector<Difference> differences = differences_of(bundle, records, compare);
  const auto wrong = std::find_if(differences.begin(), differences.end(),
                                  [](const Difference& difference) { return !difference.what.empty(); });
  if (wrong == differences.end()) return;
  const std::string where = bundle.path.string();
  wait_for_writer(bundle.path);  // somebody may have written it since the manifest was read: then that is another one
  if (!are_equal(parse_manifest(read_manifest(bundle.path), where).files, bundle.manifest.files)) {
    throw BundleChanged(where + ": was written while it was being opened; open it again");
  }
  const std::string& name = records[static_cast<std::size_t>(wrong - differences.begin())]->name;
  throw InputError(where + ": " + name + " " + wrong->what + "; copy the bundle again" + how_to_rebuild(bundle, name),
                   wrong->expected, wrong->got);
}

}  // namespace

Bundle read_bundle(const fs::path& path) {
  const fs::path bundle = without_end(path);
  std::error_code absent;
  if (!fs::is_directory(bundle, absent)) {
    const std::string shown = bundle.string();
    if (shown.empty()) {
      throw InputError("bundle: the path is empty: name the folder of a bundle", "a folder", "nothing");
    }
    if (fs::exists(bundle, absent)) {
      throw InputError(
          shown + ": a file, not a bundle: name the folder with manifest.json in it, and an engine by name", "a folder",
          "a file");
    }
    throw InputError(shown + ": no such bundle (make one: segdino-deploy export CHECKPOINT -o " + shown + ")");
  }
  wait_for_writer(bundle);
  return {bundle, parse_manifest(read_manifest(bundle), bundle.string())};
}

void check_files(const Bundle& bundle) {
  require_unchanged(bundle, records_of(bundle, [](const std::string&) { return true; }));
}

void check_files_of(const Bundle& bundle, const EngineRecord& engine) {
  const auto is_weights = [&](const std::string& name) { return is_weights_of(engine, name); };
  const auto is_parsed = [&](const std::string& name) { return is_run_with(engine, name) && !is_weights(name); };
  require_unchanged(bundle, records_of(bundle, is_weights), Compare::size);
  require_unchanged(bundle, records_of(bundle, is_parsed));
}

void check_weights_of(const Bundle& bundle, const EngineRecord& engine) {
  require_unchanged(bundle, records_of(bundle, [&](const std::string& name) { return is_weights_of(engine, name); }));
}

void check_files_beside(const Bundle& bundle, const EngineRecord& engine) {
  require_unchanged(bundle, records_of(bundle, [&](const std::string& name) { return !is_run_with(engine, name); }));
}

void check_file(const Bundle& bundle, const std::string& name) {
  const auto& files = bundle.manifest.files;
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const FileRecord& file) { return file.name == name; });
  if (found == files.end()) {
    throw InputError(bundle.path.string() + ": " + name + " has no sha256 in the manifest; copy the bundle again" +
                     how_to_rebuild(bundle, name));
  }
  require_unchanged(bundle, {&*found});
}

}  // namespace segdino::detail
