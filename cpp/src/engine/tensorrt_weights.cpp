/// Engines that were built with --strip-weights: their weights come from the bundle's ONNX file when they are opened.
#include <algorithm>

#include "engine/tensorrt_loading.hpp"
#include "engine/tensorrt_messages.hpp"
#include "text.hpp"

#ifdef SEGDINO_WITH_NVONNXPARSER
#include <NvOnnxParser.h>

#include "engine/mapped_file.hpp"
#endif

namespace segdino::detail {
namespace {

/// The command that builds the engine with its weights inside.
std::string build_with_weights(const Opening& opening) {
  EngineRecord whole = opening.engine;
  whole.strip_weights = false;
  whole.options.erase(std::remove_if(whole.options.begin(), whole.options.end(),
                                     [](const auto& option) { return option.first == "--strip-weights"; }),
                      whole.options.end());
  return "build it without --strip-weights: " + rebuild_command(whole, opening.bundle.path, false);
}

/// The weights' names are those of the model as the engine was built from it: respelled models only Python can make.
void require_weights_by_name(const Opening& opening) {
  if (opening.engine.lowerings.empty()) return;
  throw MissingComponent(opening.file().string() + ": holds no weights, and was built from a respelled model (" +
                         joined(opening.engine.lowerings) + "), which this library cannot make; " +
                         build_with_weights(opening));
}

}  // namespace

#ifdef SEGDINO_WITH_NVONNXPARSER

void bring_weights(nvinfer1::ICudaEngine& engine, const Opening& opening) {
  require_weights_by_name(opening);
  const std::filesystem::path source = opening.bundle.file(opening.engine.source);
  const std::string file = opening.file().string();
  std::error_code absent;
  if (!std::filesystem::is_regular_file(source, absent)) {
    throw MissingComponent(file + ": holds no weights, and " + source.string() +
                           " with them is not there; copy the whole bundle");
  }
  const MappedFile model(source);  // TensorRT reads it until the engine is refitted
  const Listening heard;
  const std::unique_ptr<nvinfer1::IRefitter> refitter(nvinfer1::createInferRefitter(engine, logger()));
  const std::unique_ptr<nvonnxparser::IParserRefitter> parser(
      refitter ? nvonnxparser::createParserRefitter(*refitter, logger()) : nullptr);
  if (!parser || !parser->refitFromBytes(model.data(), model.size()) || refitter->getMissingWeights(0, nullptr) != 0 ||
      !refitter->refitCudaEngine()) {
    const std::string what = "cannot bring the weights of " + source.string() + " into " + file;
    throw EngineError(heard.failure(what).what() + ("; " + build_it_here(opening)));
  }
}

#else

void bring_weights(nvinfer1::ICudaEngine&, const Opening& opening) {
  require_weights_by_name(opening);
  throw MissingComponent(opening.file().string() +
                         ": holds no weights, and this library was built without NvOnnxParser, which brings them in; " +
                         build_with_weights(opening));
}

#endif

}  // namespace segdino::detail
