# ONNX Runtime's C API: OnnxRuntime::OnnxRuntime, OnnxRuntime_VERSION. Hint: OnnxRuntime_ROOT. OnnxRuntime_HINTS:
# folders to look into where nobody names another one.
#
# The CMake package in the release archives names an include folder that they do not have, so headers and library are
# looked for first, and the package is the second choice.
find_path(OnnxRuntime_INCLUDE_DIR onnxruntime_c_api.h
  HINTS ${OnnxRuntime_HINTS} PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session)
find_library(OnnxRuntime_LIBRARY NAMES onnxruntime HINTS ${OnnxRuntime_HINTS})
if(NOT OnnxRuntime_INCLUDE_DIR OR NOT OnnxRuntime_LIBRARY)
  find_package(onnxruntime QUIET CONFIG HINTS ${OnnxRuntime_HINTS})
  if(TARGET onnxruntime::onnxruntime)
    get_target_property(OnnxRuntime_INCLUDE_DIR onnxruntime::onnxruntime INTERFACE_INCLUDE_DIRECTORIES)
    set(OnnxRuntime_LIBRARY onnxruntime::onnxruntime)
    set(OnnxRuntime_VERSION "${onnxruntime_VERSION}")
  endif()
endif()

if(NOT OnnxRuntime_VERSION AND EXISTS "${OnnxRuntime_INCLUDE_DIR}/onnxruntime_c_api.h")
  file(STRINGS "${OnnxRuntime_INCLUDE_DIR}/onnxruntime_c_api.h" line REGEX "^#define ORT_API_VERSION [0-9]+")
  string(REGEX REPLACE ".*ORT_API_VERSION ([0-9]+).*" "1.\\1" OnnxRuntime_VERSION "${line}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntime
  REQUIRED_VARS OnnxRuntime_LIBRARY OnnxRuntime_INCLUDE_DIR VERSION_VAR OnnxRuntime_VERSION
  REASON_FAILURE_MESSAGE "pass -DOnnxRuntime_ROOT=<the unpacked archive of ONNX Runtime's release>")
mark_as_advanced(OnnxRuntime_LIBRARY OnnxRuntime_INCLUDE_DIR)

if(OnnxRuntime_FOUND AND NOT TARGET OnnxRuntime::OnnxRuntime)
  if(TARGET "${OnnxRuntime_LIBRARY}")
    add_library(OnnxRuntime::OnnxRuntime INTERFACE IMPORTED)
    target_link_libraries(OnnxRuntime::OnnxRuntime INTERFACE "${OnnxRuntime_LIBRARY}")
  else()
    add_library(OnnxRuntime::OnnxRuntime UNKNOWN IMPORTED)
    set_target_properties(OnnxRuntime::OnnxRuntime PROPERTIES
      IMPORTED_LOCATION "${OnnxRuntime_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${OnnxRuntime_INCLUDE_DIR}")
  endif()
endif()
