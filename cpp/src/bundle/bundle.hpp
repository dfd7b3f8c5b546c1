/// The bundle on disk: its manifest, and whether its files are those that were written.
#pragma once

#include <filesystem>

#include "bundle/manifest.hpp"

namespace segdino::detail {

struct Bundle {
  std::filesystem::path path;
  Manifest manifest;

  std::filesystem::path file(const std::string& name) const { return path / name; }
};

/// Reads the manifest. InputError: no such folder, no bundle, a damaged manifest, a change that was cut off.
Bundle read_bundle(const std::filesystem::path& path);

/// The engines that `options` allow, in the order in which they are tried. InputError where there is none.
std::vector<EngineRecord> choose_engines(const Bundle& bundle, const Options& options);

/// Thrown by these checks where somebody has written the bundle since it was read: read it again.
class BundleChanged : public InputError {
 public:
  using InputError::InputError;
};

/// Compares sizes and sha256 of all files with the manifest, several files at the same time. InputError names the first
/// file that differs, and the command that makes it again.
void check_files(const Bundle& bundle);

/// The same of what has to be right before one engine is opened: what is parsed, which is its own file, and the ONNX
/// file where it has no weights of its own. Of files with weights alone only the size, which is what mapping them
/// needs.
void check_files_of(const Bundle& bundle, const EngineRecord& engine);

/// The same of the engine's files with weights alone, in full: for a second thread, while the engine is opened.
void check_weights_of(const Bundle& bundle, const EngineRecord& engine);

/// The same of all other files.
void check_files_beside(const Bundle& bundle, const EngineRecord& engine);

/// The same of one file; InputError where the manifest does not know it, too.
void check_file(const Bundle& bundle, const std::string& name);

/// The command that builds an engine again with the options that it was built with; `same_targets`: for the same GPUs,
/// not for this machine's.
std::string rebuild_command(const EngineRecord& engine, const std::filesystem::path& bundle, bool same_targets);

}  // namespace segdino::detail
