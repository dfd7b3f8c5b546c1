# Which backends are compiled in. Gives segdino_backend_sources, segdino_backend_definitions, segdino_summary, and adds
# to segdino_libraries.
set(segdino_backend_sources "")
set(segdino_backend_definitions "")
set(segdino_backends "") # for the installed package
set(segdino_summary "")

# Why a package cannot be used; empty where it can. `where`: where it was found.
function(segdino_why_not package least where result)
  set(why "")
  if(${package}_FOUND)
    if(${package}_VERSION AND ${package}_VERSION VERSION_LESS least)
      set(why "${where} is too old: ${least} or newer is needed")
    endif()
  elseif(${package}_LIBRARY AND ${package}_INCLUDE_DIR)
    set(why "${${package}_LIBRARY} is there, but CUDA was not found")
  elseif(${package}_ROOT)
    set(why "nothing usable in ${package}_ROOT=${${package}_ROOT}")
  elseif(DEFINED ENV{${package}_ROOT})
    set(why "nothing usable in the environment's ${package}_ROOT=$ENV{${package}_ROOT}")
  else()
    set(why "not found")
  endif()
  set(${result} "${why}" PARENT_SCOPE)
endfunction()

# Takes one backend where it is wanted and its package was found. `least`: version; `where`: where it was found. A root
# that was passed is a wish, too: that it holds nothing must not be overlooked.
macro(segdino_take backend package least where library sources cure)
  segdino_why_not(${package} ${least} "${where}" segdino_why)
  if(NOT SEGDINO_WITH_${backend})
    list(APPEND segdino_summary "${backend}: left out")
  elseif(segdino_why STREQUAL "")
    list(APPEND segdino_summary "${backend}: ${where}")
    list(APPEND segdino_backends ${backend})
    list(APPEND segdino_backend_definitions SEGDINO_WITH_${backend})
    list(APPEND segdino_backend_sources ${sources})
    list(APPEND segdino_libraries ${library})
    segdino_make_global(${library})
  elseif(SEGDINO_WITH_${backend} STREQUAL "ON" AND segdino_why STREQUAL "not found")
    message(FATAL_ERROR "segdino: SEGDINO_WITH_${backend}=ON, but it was not found: ${cure}")
  elseif(SEGDINO_WITH_${backend} STREQUAL "ON" OR ${package}_ROOT)
    message(FATAL_ERROR "segdino: ${backend}: ${segdino_why}: ${cure}, or leave it out with -DSEGDINO_WITH_${backend}=OFF")
  else()
    list(APPEND segdino_summary "${backend}: ${segdino_why}, ${cure}")
  endif()
endmacro()

set(segdino_openvino_cure "pass -DOpenVINO_ROOT=<the unpacked archive>/runtime, or -DCMAKE_PREFIX_PATH=<what \
`segdino-deploy cpp-path --openvino` prints>")
if(SEGDINO_WITH_OPENVINO)
  find_package(OpenVINO QUIET COMPONENTS Runtime) # which takes a version for one of the same year alone
endif()
segdino_take(OPENVINO OpenVINO 2025.2 "${OpenVINO_VERSION} in ${OpenVINO_DIR}" openvino::runtime src/engine/openvino.cpp
  "${segdino_openvino_cure}")

if(SEGDINO_WITH_ONNXRUNTIME)
  find_package(OnnxRuntime QUIET)
endif()
segdino_take(ONNXRUNTIME OnnxRuntime 1.12 "${OnnxRuntime_VERSION} ${OnnxRuntime_LIBRARY}" OnnxRuntime::OnnxRuntime
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
if(SEGDINO_WITH_TENSORRT_RTX STREQUAL "ON")
  list(APPEND segdino_summary "TENSORRT: left out, since TensorRT-RTX is wanted")
else()
  if(SEGDINO_WITH_TENSORRT)
    find_package(TensorRT QUIET)
  endif()
  segdino_take(TENSORRT TensorRT 10 "${TensorRT_VERSION} ${TensorRT_LIBRARY}" TensorRT::TensorRT
    "${segdino_tensorrt_sources}"
    "pass -DTensorRT_ROOT=<the unpacked archive>, or apt-get install libnvinfer-dev, and -DCUDAToolkit_ROOT=<prefix of CUDA>")
endif()
if(TENSORRT IN_LIST segdino_backends)
  list(APPEND segdino_summary "TENSORRT_RTX: left out, since TensorRT is in")
else()
  if(SEGDINO_WITH_TENSORRT_RTX)
    find_package(TensorRT_RTX QUIET)
  endif()
  segdino_take(TENSORRT_RTX TensorRT_RTX 1.3 "${TensorRT_RTX_VERSION} ${TensorRT_RTX_LIBRARY}"
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
