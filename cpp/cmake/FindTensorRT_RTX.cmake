# TensorRT-RTX with the CUDA runtime: TensorRT_RTX::TensorRT_RTX, TensorRT_RTX_VERSION. Hint: TensorRT_RTX_ROOT.
include("${CMAKE_CURRENT_LIST_DIR}/find_tensorrt.cmake")
segdino_find_tensorrt(TensorRT_RTX tensorrt_rtx tensorrt_onnxparser_rtx)
