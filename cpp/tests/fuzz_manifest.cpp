/// libFuzzer: any text as manifest.json. Nothing but InputError may come out, in one line; what is accepted must be
/// safe to compute with.
#include <cstdlib>
#include <string>

#include "bundle/bundle.hpp"
#include "bundle/manifest.hpp"

using namespace segdino::detail;

namespace {

void require(bool is_fine) {
  if (!is_fine) std::abort();
}

void require_one_line(const std::string& text) { require(!text.empty() && text.find('\n') == std::string::npos); }

void use(const Manifest& manifest) {
  const auto batch = static_cast<std::size_t>(manifest.card.max_batch);
  for (const Tensor& tensor : output_tensors(manifest.card)) {
    require(tensor.bytes() > 0 && tensor.bytes() <= SIZE_MAX / batch);
    require(tensor.head < manifest.card.heads.size());
  }
  const Bundle bundle = {"some.segdino", manifest};
  for (const EngineRecord& engine : manifest.engines) {
    require_one_line(rebuild_command(engine, bundle.path, true));
    require_one_line(rebuild_command(engine, bundle.path, false));
    require(bundle.file(engine.file).is_relative());
  }
  try {
    require(choose_engines(bundle, {}).size() == manifest.engines.size());
  } catch (const segdino::InputError& error) {
    require(manifest.engines.empty());
    require_one_line(error.what());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    use(parse_manifest({reinterpret_cast<const char*>(data), size}, "some.segdino"));
  } catch (const segdino::InputError& error) {
    require_one_line(error.what());
  }
  return 0;
}
