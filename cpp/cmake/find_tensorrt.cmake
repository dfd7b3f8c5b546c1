# What FindTensorRT and FindTensorRT_RTX share: the two differ in the names of their libraries. <name>_HINTS: folders to
# look into where nobody names another one.
include(FindPackageHandleStandardArgs)

macro(segdino_find_tensorrt name library parser)
  find_path(${name}_INCLUDE_DIR NvInferRuntime.h
    HINTS ${${name}_HINTS} PATH_SUFFIXES include include/${CMAKE_LIBRARY_ARCHITECTURE})
  set(segdino_folders HINTS ${${name}_HINTS} PATH_SUFFIXES lib lib/${CMAKE_LIBRARY_ARCHITECTURE} lib64)
  find_library(${name}_LIBRARY NAMES ${library} ${segdino_folders})
  find_library(${name}_PARSER_LIBRARY NAMES ${parser} ${segdino_folders})
  find_package(CUDAToolkit QUIET)

  set(${name}_VERSION "")
  if(EXISTS "${${name}_INCLUDE_DIR}/NvInferVersion.h")
    file(READ "${${name}_INCLUDE_DIR}/NvInferVersion.h" segdino_header)
    foreach(part MAJOR MINOR PATCH)
      # Older headers give the number itself, newer ones through a name: NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE.
      if(segdino_header MATCHES "#define (NV_TENSORRT|TRT|TRT_RTX)_${part}(_ENTERPRISE|_RTX)? ([0-9]+)")
        list(APPEND ${name}_VERSION ${CMAKE_MATCH_3})
      endif()
    endforeach()
    list(JOIN ${name}_VERSION "." ${name}_VERSION)
  endif()

  find_package_handle_standard_args(${name}
    REQUIRED_VARS ${name}_LIBRARY ${name}_INCLUDE_DIR CUDAToolkit_FOUND VERSION_VAR ${name}_VERSION
    REASON_FAILURE_MESSAGE "pass -D${name}_ROOT=<the unpacked archive> and -DCUDAToolkit_ROOT=<prefix of CUDA>")
  mark_as_advanced(${name}_LIBRARY ${name}_PARSER_LIBRARY ${name}_INCLUDE_DIR)
  if(${name}_FOUND AND NOT TARGET ${name}::${name})
    add_library(${name}::${name} UNKNOWN IMPORTED)
    set_target_properties(${name}::${name} PROPERTIES
      IMPORTED_LOCATION "${${name}_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${${name}_INCLUDE_DIR}"
      INTERFACE_LINK_LIBRARIES CUDA::cudart)
    # Only engines that were built with --strip-weights need the parser, when they are opened.
    if(${name}_PARSER_LIBRARY AND EXISTS "${${name}_INCLUDE_DIR}/NvOnnxParser.h")
      set_property(TARGET ${name}::${name} APPEND PROPERTY INTERFACE_LINK_LIBRARIES "${${name}_PARSER_LIBRARY}")
      set_property(TARGET ${name}::${name} PROPERTY INTERFACE_COMPILE_DEFINITIONS SEGDINO_WITH_NVONNXPARSER)
    endif()
  endif()
endmacro()
