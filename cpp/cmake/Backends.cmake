# Which backends are compiled in. Gives segdino_backend_sources, segdino_backend_definitions, segdino_summary, and adds
# to segdino_libraries.
set(segdino_backend_sources "")
set(segdino_backend_definitions "")
set(segdino_backends "") # for the installed package
set(segdino_summary "")

# Takes one backend where it is wanted and its package was found. `found`: whether; `what`: where it was found.
macro(segdino_take backend found what library sources cure)
  if(NOT SEGDINO_WITH_${backend})
    list(APPEND segdino_summary "${backend}: left out")
  elseif(${found})
    list(APPEND segdino_summary "${backend}: ${what}")
    list(APPEND segdino_backends ${backend})
    list(APPEND segdino_backend_definitions SEGDINO_WITH_${backend})
    list(APPEND segdino_backend_sources ${sources})
    list(APPEND segdino_libraries ${library})
    segdino_make_global(${library})
  elseif(SEGDINO_WITH_${backend} STREQUAL "AUTO")
    list(APPEND segdino_summary "${backend}: not found, ${cure}")
  else()
    message(FATAL_ERROR "segdino: SEGDINO_WITH_${backend}=ON, but it was not found: ${cure}")
  endif()
endmacro()

set(segdino_openvino_cure "pass -DOpenVINO_ROOT=<the unpacked archive>/runtime, or -DCMAKE_PREFIX_PATH=<what \
`segdino-deploy cpp-path --openvino` prints>")
if(SEGDINO_WITH_OPENVINO)
  find_package(OpenVINO QUIET COMPONENTS Runtime)
endif()
segdino_take(OPENVINO OpenVINO_FOUND "${OpenVINO_VERSION} in ${OpenVINO_DIR}" openvino::runtime src/engine/openvino.cpp
  "${segdino_openvino_cure}")

if(SEGDINO_WITH_ONNXRUNTIME)
  find_package(OnnxRuntime QUIET)
endif()
segdino_take(ONNXRUNTIME OnnxRuntime_FOUND "${OnnxRuntime_VERSION} ${OnnxRuntime_LIBRARY}" OnnxRuntime::OnnxRuntime
  src/engine/onnxruntime.cpp "pass -DOnnxRuntime_ROOT=<the unpacked archive of ONNX Runtime's release>")

# Both have the same class names with other contents: one program can have only one of them.
if(SEGDINO_WITH_TENSORRT STREQUAL "ON" AND SEGDINO_WITH_TENSORRT_RTX STREQUAL "ON")
  message(FATAL_ERROR "segdino: TensorRT and TensorRT-RTX cannot be in one library: "
    "pass -DSEGDINO_WITH_TENSORRT=OFF or -DSEGDINO_WITH_TENSORRT_RTX=OFF, and build the other one in another folder")
endif()
set(segdino_tensorrt_sources
  src/engine/cuda.cpp
  src/engine/tensorrt.cpp
  src/engine/tensorrt_cache.cpp
  src/engine/tensorrt_loading.cpp
  src/engine/tensorrt_messages.cpp
  src/engine/tensorrt_session.cpp
  src/engine/tensorrt_weights.cpp
)
if(SEGDINO_WITH_TENSORRT AND NOT SEGDINO_WITH_TENSORRT_RTX STREQUAL "ON")
  find_package(TensorRT QUIET)
endif()
segdino_take(TENSORRT TensorRT_FOUND "${TensorRT_VERSION} ${TensorRT_LIBRARY}" TensorRT::TensorRT
  "${segdino_tensorrt_sources}"
  "pass -DTensorRT_ROOT=<the unpacked archive>, or apt-get install libnvinfer-dev, and -DCUDAToolkit_ROOT=<prefix of CUDA>")
if(TensorRT_FOUND)
  list(APPEND segdino_summary "TENSORRT_RTX: left out, since TensorRT is in")
else()
  if(SEGDINO_WITH_TENSORRT_RTX)
    find_package(TensorRT_RTX QUIET)
  endif()
  segdino_take(TENSORRT_RTX TensorRT_RTX_FOUND "${TensorRT_RTX_VERSION} ${TensorRT_RTX_LIBRARY}"
    TensorRT_RTX::TensorRT_RTX "${segdino_tensorrt_sources}"
    "pass -DTensorRT_RTX_ROOT=<the unpacked archive> and -DCUDAToolkit_ROOT=<prefix of CUDA>")
endif()

function(segdino_print_summary)
  message(STATUS "segdino ${PROJECT_VERSION}")
  foreach(line ${segdino_summary})
    message(STATUS "  ${line}")
  endforeach()
  if(NOT segdino_backends)
    message(WARNING "segdino: no backend is compiled in: the library will open no engine")
  endif()
endfunction()
