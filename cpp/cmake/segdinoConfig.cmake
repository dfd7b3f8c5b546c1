# The package of the sources, for -DCMAKE_PREFIX_PATH="$(segdino-deploy cpp-path --openvino)": find_package(segdino)
# builds them as part of the program. The install tree has a package of its own.
if(NOT TARGET segdino::segdino)
  add_subdirectory("${CMAKE_CURRENT_LIST_DIR}/.." "${CMAKE_CURRENT_BINARY_DIR}/segdino")
endif()
