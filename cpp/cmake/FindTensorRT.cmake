# TensorRT with the CUDA runtime: TensorRT::TensorRT, TensorRT_VERSION. Hint: TensorRT_ROOT.
include("${CMAKE_CURRENT_LIST_DIR}/find_tensorrt.cmake")
segdino_find_tensorrt(TensorRT nvinfer nvonnxparser)
