# The install tree: headers, library, CMake package and pkg-config file. None of it names the folder it was installed in.
include(CMakePackageConfigHelpers)
set(segdino_package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/segdino")

install(TARGETS segdino EXPORT segdinoTargets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT segdinoTargets NAMESPACE segdino:: DESTINATION "${segdino_package_folder}")

# Where a backend was found: a program that links the static library looks for it there, too, behind the folders that its
# own configuration names.
function(segdino_hint package result)
  set(hint "")
  set(folders "")
  foreach(found ${${package}_INCLUDE_DIR} ${${package}_LIBRARY})
    if(IS_DIRECTORY "${found}")
      list(APPEND folders "${found}")
    elseif(TARGET "${found}") # of ONNX Runtime's own package
      list(APPEND folders "${onnxruntime_DIR}")
    else()
      get_filename_component(folder "${found}" DIRECTORY)
      list(APPEND folders "${folder}")
    endif()
  endforeach()
  if(NOT package STREQUAL "OnnxRuntime" AND CUDAToolkit_ROOT)
    set(hint "if(NOT CUDAToolkit_ROOT)\n  set(CUDAToolkit_ROOT \"${CUDAToolkit_ROOT}\")\nendif()\n")
  endif()
  set(${result} "${hint}set(${package}_HINTS \"${folders}\")\n" PARENT_SCOPE)
endfunction()

# Those who link a static library link what it was linked with; those who link a shared one need nothing else.
set(segdino_dependencies "")
if(NOT BUILD_SHARED_LIBS)
  set(segdino_dependencies "find_dependency(OpenSSL COMPONENTS Crypto)\nfind_dependency(ZLIB)\nfind_dependency(Threads)\n")
  set(modules "")
  foreach(backend ${segdino_backends})
    if(backend STREQUAL "OPENVINO")
      string(APPEND segdino_dependencies
        "find_dependency(OpenVINO COMPONENTS Runtime HINTS \"${OpenVINO_DIR}\")\n")
      continue()
    elseif(backend STREQUAL "ONNXRUNTIME")
      set(package OnnxRuntime)
    elseif(backend STREQUAL "TENSORRT")
      set(package TensorRT)
      list(APPEND modules cmake/find_tensorrt.cmake)
    else()
      set(package TensorRT_RTX)
      list(APPEND modules cmake/find_tensorrt.cmake)
    endif()
    segdino_hint(${package} segdino_hints)
    string(APPEND segdino_dependencies "${segdino_hints}find_dependency(${package})\n")
    list(APPEND modules cmake/Find${package}.cmake)
  endforeach()
  install(FILES ${modules} DESTINATION "${segdino_package_folder}")
endif()
configure_package_config_file(cmake/segdinoConfig.cmake.in segdinoConfig.cmake
  INSTALL_DESTINATION "${segdino_package_folder}")
write_basic_package_version_file(segdinoConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/segdinoConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/segdinoConfigVersion.cmake"
  DESTINATION "${segdino_package_folder}")

file(RELATIVE_PATH segdino_pc_to_prefix
  "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
set(segdino_pc_cflags "")
set(segdino_pc_libraries "")
if(NOT BUILD_SHARED_LIBS)
  set(segdino_pc_cflags " -DSEGDINO_STATIC")
  foreach(library ${segdino_libraries})
    if(library STREQUAL "Threads::Threads")
      string(APPEND segdino_pc_libraries " -pthread")
    else()
      string(APPEND segdino_pc_libraries " $<TARGET_FILE:${library}>")
    endif()
  endforeach()
  string(APPEND segdino_pc_libraries " -lstdc++ -lm")
endif()
configure_file(cmake/segdino.pc.in segdino.pc.generate @ONLY)
file(GENERATE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/segdino.pc" INPUT "${CMAKE_CURRENT_BINARY_DIR}/segdino.pc.generate")
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/segdino.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
