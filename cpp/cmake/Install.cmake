# The install tree: headers, library, CMake package and pkg-config file. None of it names the folder it was installed in.
include(CMakePackageConfigHelpers)
set(segdino_package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/segdino")

install(TARGETS segdino EXPORT segdinoTargets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT segdinoTargets NAMESPACE segdino:: DESTINATION "${segdino_package_folder}")

# Those who link a static library link what it was linked with; those who link a shared one need nothing else.
set(segdino_dependencies "")
if(NOT BUILD_SHARED_LIBS)
  set(segdino_dependencies "find_dependency(OpenSSL COMPONENTS Crypto)\nfind_dependency(ZLIB)\nfind_dependency(Threads)\n")
  set(modules "")
  foreach(backend ${segdino_backends})
    if(backend STREQUAL "OPENVINO")
      string(APPEND segdino_dependencies
        "find_dependency(OpenVINO COMPONENTS Runtime HINTS \"${OpenVINO_DIR}\")\n")
    elseif(backend STREQUAL "ONNXRUNTIME")
      string(APPEND segdino_dependencies "find_dependency(OnnxRuntime)\n")
      list(APPEND modules cmake/FindOnnxRuntime.cmake)
    elseif(backend STREQUAL "TENSORRT")
      string(APPEND segdino_dependencies "find_dependency(TensorRT)\n")
      list(APPEND modules cmake/FindTensorRT.cmake cmake/find_tensorrt.cmake)
    else()
      string(APPEND segdino_dependencies "find_dependency(TensorRT_RTX)\n")
      list(APPEND modules cmake/FindTensorRT_RTX.cmake cmake/find_tensorrt.cmake)
    endif()
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
