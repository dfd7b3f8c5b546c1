/// The simulation, and the engines that the library opens on it, for tests/cpp/test_tensorrt_backend.py.
#include <cstring>

#include "../probe_error.hpp"
#include "engine/engine.hpp"
#include "world.hpp"

namespace sd = segdino::detail;
using simulation::World;
using simulation::world;

namespace {

/// 0, or the number that segdino_status has for what was thrown.
template <typename Function>
int attempt(Function&& function) {
  try {
    function();
    return 0;
  } catch (const segdino::InputError& error) {
    keep_probe_error(error.what());
    return 2;
  } catch (const segdino::MissingComponent& error) {
    keep_probe_error(error.what());
    return 3;
  } catch (const segdino::EngineError& error) {
    keep_probe_error(error.what());
    return 4;
  }
}

}  // namespace

// Of the world: numbers by name, the log and the broken rules as lines.

/// Forgets everything; nothing may live.
extern "C" SEGDINO_API void simulation_reset() {
  World fresh;
  const std::lock_guard<std::recursive_mutex> lock(world().mutex);
  world().gpus = fresh.gpus;
  world().contexts_left = fresh.contexts_left;
  world().refusals = 0;
  world().refuses_capture = false;
  world().validity = 0;
  world().log.clear();
  world().violations.clear();
  world().fails_at = 0;
  world().dla_core = -1;
  world().is_host_code_allowed = false;
}

extern "C" SEGDINO_API void simulation_set(const char* name, long value) {
  const std::lock_guard<std::recursive_mutex> lock(world().mutex);
  if (std::strcmp(name, "gpus") == 0) world().gpus = static_cast<int>(value);
  if (std::strcmp(name, "contexts_left") == 0) world().contexts_left = static_cast<int>(value);
  if (std::strcmp(name, "refuses_capture") == 0) world().refuses_capture = value != 0;
  if (std::strcmp(name, "validity") == 0) world().validity = static_cast<std::uint64_t>(value);
  if (std::strcmp(name, "fails_at") == 0) world().fails_at = static_cast<std::size_t>(value);
}

extern "C" SEGDINO_API void simulation_refuse(int times, const char* message, int is_foreign) {
  const std::lock_guard<std::recursive_mutex> lock(world().mutex);
  world().refusals = times;
  world().refusal = message;
  world().is_foreign = is_foreign != 0;
}

extern "C" SEGDINO_API void simulation_interlude(void (*interlude)()) { world().interlude = interlude; }

extern "C" SEGDINO_API void simulation_tell(void (*log)(const char*), void (*violation)(const char*)) {
  const std::lock_guard<std::recursive_mutex> lock(world().mutex);
  for (const std::string& call : world().log) log(call.c_str());
  for (const std::string& broken : world().violations) violation(broken.c_str());
}

extern "C" SEGDINO_API int simulation_is_empty() { return world().is_empty(); }
extern "C" SEGDINO_API int simulation_executables() { return static_cast<int>(world().executables.size()); }
extern "C" SEGDINO_API int simulation_dla_core() { return world().dla_core; }
extern "C" SEGDINO_API int simulation_is_host_code_allowed() { return world().is_host_code_allowed; }

// Of engines.

/// Opens the first engine of a manifest, whose bundle lies at `folder`.
extern "C" SEGDINO_API int probe_open(const char* manifest, const char* folder, void** engine) {
  return attempt([&] {
    const sd::Bundle bundle{folder, sd::parse_manifest(manifest, folder)};
    const segdino::Options options;
    *engine = sd::open_engine({bundle, bundle.manifest.engines.front(), options}).release();
  });
}

extern "C" SEGDINO_API int probe_share(void* engine, void** shared) {
  return attempt([&] { *shared = static_cast<sd::Engine*>(engine)->share().release(); });
}

extern "C" SEGDINO_API void probe_close(void* engine) { delete static_cast<sd::Engine*>(engine); }

extern "C" SEGDINO_API const char* probe_device(void* engine) {
  thread_local std::string device;
  device = static_cast<sd::Engine*>(engine)->device();
  return device.c_str();
}

/// `mask` and `logits`: the engine's own memory.
extern "C" SEGDINO_API int probe_run(void* engine, int batch, const void* image, std::size_t bytes, double* engine_ms,
                                     const void** mask, const void** logits) {
  return attempt([&] {
    sd::Engine& opened = *static_cast<sd::Engine*>(engine);
    std::memcpy(opened.input(batch), image, bytes);
    *engine_ms = opened.run(batch);
    *mask = opened.output(0);
    *logits = opened.output(1);
  });
}

/// `say` is told name, address and size of every output.
extern "C" SEGDINO_API int probe_run_device(void* engine, int batch, const void* image, void* stream,
                                            void (*say)(const char*, const void*, std::size_t)) {
  return attempt([&] {
    for (const segdino::DeviceOutput& output : static_cast<sd::Engine*>(engine)->run_device({image, batch, stream})) {
      say(output.name.c_str(), output.data, output.bytes);
    }
  });
}
