#include "engine/tensorrt_cache.hpp"

#ifdef SEGDINO_WITH_TENSORRT_RTX

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "bundle/sha256.hpp"

namespace segdino::detail {
namespace {

namespace fs = std::filesystem;

/// Value of an environment variable, or empty.
fs::path folder_in(const char* name) {
  const char* const value = std::getenv(name);
  return value ? fs::path(value) : fs::path();
}

/// By the manifest, with which the file was compared.
std::string sha256_of_engine(const Opening& opening) {
  for (const FileRecord& file : opening.bundle.manifest.files) {
    if (file.name == opening.engine.file) return file.sha256;
  }
  return sha256_of(opening.file());
}

}  // namespace

fs::path cache_file(const Opening& opening, const std::string& version, const std::string& compute_capability) {
  fs::path folder = folder_in("XDG_CACHE_HOME");
  if (!folder.is_absolute()) {  // to be ignored then, by the specification
    fs::path home = folder_in("HOME");
    if (home.empty()) home = folder_in("USERPROFILE");
    if (home.empty()) return {};
    folder = home / ".cache";
  }
  std::string architecture = compute_capability;
  architecture.erase(std::remove(architecture.begin(), architecture.end(), '.'), architecture.end());
  const std::string name = sha256_of_engine(opening).substr(0, 24) + "-" + version + "-sm" + architecture + ".cache";
  return folder / "segdino-deploy" / "tensorrt-rtx" / name;
}

RuntimeCache::~RuntimeCache() { save(); }

std::unique_ptr<nvinfer1::IRuntimeConfig> RuntimeCache::configure(nvinfer1::ICudaEngine& engine) {
  std::unique_ptr<nvinfer1::IRuntimeConfig> config(engine.createRuntimeConfig());
  if (!config) return nullptr;
  if (!cache_) {
    cache_.reset(config->createRuntimeCache());
    if (!cache_) return nullptr;
    read();
  }
  const bool taken = config->setRuntimeCache(*cache_) &&
                     config->setCudaGraphStrategy(nvinfer1::CudaGraphStrategy::kWHOLE_GRAPH_CAPTURE);
  return taken ? std::move(config) : nullptr;
}

/// A file of another version, GPU or driver is refused by TensorRT-RTX, and replaced in the end.
void RuntimeCache::read() {
  std::error_code absent;
  const auto size = fs::is_regular_file(file_, absent) ? fs::file_size(file_, absent) : 0;
  if (absent) return;
  std::vector<char> data(static_cast<std::size_t>(size));
  std::ifstream stream(file_, std::ios::binary);
  if (!stream.read(data.data(), static_cast<std::streamsize>(data.size()))) return;
  if (!data.empty() && cache_->deserialize(data.data(), data.size())) known_ = std::move(data);
}

void RuntimeCache::save() noexcept {
  if (file_.empty() || !cache_) return;
  try {
    const std::unique_ptr<nvinfer1::IHostMemory> serialized(cache_->serialize());
    if (!serialized || serialized->size() == 0) return;
    const char* const begin = static_cast<const char*>(serialized->data());
    std::vector<char> data(begin, begin + serialized->size());
    if (data == known_) return;
    // Under another name first: another process may read the file, or write it, at the same time.
    fs::create_directories(file_.parent_path());
    const fs::path temporary =
        file_.parent_path() / ("." + file_.filename().string() + "." + std::to_string(std::random_device()()) + ".tmp");
    std::ofstream stream(temporary, std::ios::binary);
    stream.write(data.data(), static_cast<std::streamsize>(data.size()));
    stream.close();
    std::error_code refused;
    if (stream) fs::rename(temporary, file_, refused);
    if (stream && !refused) {
      known_ = std::move(data);
    } else {
      fs::remove(temporary, refused);
    }
  } catch (const std::exception&) {
    // No space, no permission, no memory: the next process compiles again.
  }
}

}  // namespace segdino::detail

#endif
