# Cross-compiling for a Jetson (64-bit Arm Linux) on another machine. Building on the Jetson itself needs none of this:
# there, `cmake --preset release -DSEGDINO_WITH_TENSORRT=ON` in cpp/ finds what JetPack has installed. In cpp/, too:
#
#   cmake --preset jetson -DCMAKE_SYSROOT=/path/to/sysroot
#
# On the machine that compiles: apt-get install g++-aarch64-linux-gnu. A GCC that is newer than the Jetson's needs the
# Jetson's libstdc++ to be as new: JetPack 5 has GCC 9, JetPack 6 GCC 11.
#
# The sysroot is a copy of the Jetson's own folders, made once with its packages installed (libssl-dev, zlib1g-dev,
# nlohmann-json3-dev; libnvinfer-dev and cuda-cudart-dev of JetPack), such as
#
#   rsync -a --rsync-path='sudo rsync' jetson:/{lib,usr/include,usr/lib,usr/local/cuda} --relative /path/to/sysroot
#
# In it, JetPack has TensorRT's headers in usr/include/aarch64-linux-gnu, its libraries in usr/lib/aarch64-linux-gnu, and
# CUDA in usr/local/cuda (its headers and stubs in targets/aarch64-linux). Absolute links inside the copy have to be made
# relative (`symlinks -rc`), or CMake does not follow them.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# Libraries and headers are the Jetson's, programs this machine's. Debian's arm64 packages (dpkg --add-architecture
# arm64) serve as well where there is no sysroot: they lie where the compiler looks by itself.
if(CMAKE_SYSROOT)
  list(APPEND CMAKE_FIND_ROOT_PATH "${CMAKE_SYSROOT}")
  set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
  set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
  set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH) # packages that -DCMAKE_PREFIX_PATH names may lie outside
  if(EXISTS "${CMAKE_SYSROOT}/usr/local/cuda")
    set(CUDAToolkit_ROOT "${CMAKE_SYSROOT}/usr/local/cuda" CACHE PATH "CUDA of the sysroot")
  endif()
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
