# Flags of this project's own code; nothing here reaches the programs that use the library.

set(segdino_sanitizers "${SEGDINO_SANITIZE}")
if(SEGDINO_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "segdino: SEGDINO_FUZZ needs clang: pass -DCMAKE_CXX_COMPILER=clang++, or -DSEGDINO_FUZZ=OFF")
  endif()
  if(NOT segdino_sanitizers)
    set(segdino_sanitizers "address,undefined")
  endif()
endif()

# Warnings, sanitizers, C++17 and hidden symbols for one target.
function(segdino_set_flags target)
  target_compile_features(${target} PRIVATE cxx_std_17)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion)
  if(SEGDINO_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(segdino_sanitizers)
    set(flags -fsanitize=${segdino_sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(${target} PRIVATE ${flags})
    target_link_options(${target} PRIVATE ${flags})
  endif()
  if(SEGDINO_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# Instances of the standard library's templates, and static libraries that are linked in, stay inside.
function(segdino_hide_foreign_symbols target)
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT segdino_sanitizers)
    set(script "${PROJECT_SOURCE_DIR}/cmake/exported.map")
    target_link_options(${target} PRIVATE "LINKER:--version-script=${script}")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${script}")
  endif()
endfunction()
