/// The part of NvOnnxParser that the library uses: it brings the weights of an ONNX file into an engine without any.
#pragma once

#include <NvInferRuntime.h>

namespace nvonnxparser {

class IParserRefitter {
 public:
  virtual ~IParserRefitter() = default;
  virtual bool refitFromBytes(const void* model, std::size_t size) noexcept = 0;
};

IParserRefitter* createParserRefitter(nvinfer1::IRefitter& refitter, nvinfer1::ILogger& logger) noexcept;

}  // namespace nvonnxparser
