/// For tests/cpp/test_engine_versions.py.
#include <string>

#include "engine/tensorrt_versions.hpp"
#include "probe_error.hpp"

namespace sd = segdino::detail;

/// What why_it_cannot_run says of every engine of a manifest, in its order, to `say`. The rest is of this machine:
/// library version, name and compute capability of the GPU.
extern "C" SEGDINO_API int probe_why_they_cannot_run(const char* manifest, const char* version, const char* gpu,
                                                     const char* capability, void (*say)(const char*)) {
  return probe([&] {
    const sd::Gpu here{0, gpu, capability};
    for (const sd::EngineRecord& engine : sd::parse_manifest(manifest, "a.segdino").engines) {
      const sd::Flavour& flavour = engine.backend == sd::kTensorRt.backend ? sd::kTensorRt : sd::kTensorRtRtx;
      say(sd::why_it_cannot_run(engine, flavour, version, here).c_str());
    }
  });
}
