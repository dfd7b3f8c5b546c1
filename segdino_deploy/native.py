"""Where the C++ library's sources are, for a program that builds them with CMake."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from segdino_deploy.errors import MissingComponent
from segdino_deploy.requirements import has_module, install_line


def cpp_directory() -> Path:
    """The packaged sources, or the repository's where the package is installed in place.

    `find_package(segdino)` finds them with this as CMAKE_PREFIX_PATH. Raises MissingComponent.
    """
    here = Path(__file__).resolve().parent
    for candidate in (here / "cpp", here.parent / "cpp"):
        if (candidate / "cmake" / "segdinoConfig.cmake").is_file():
            return candidate
    raise MissingComponent(
        "the C++ sources are not beside the package: install segdino-deploy again, or run from its repository"
    )


def openvino_directory() -> Path:
    """The installed OpenVINO package, whose headers, libraries and CMake package `find_package(OpenVINO)` finds.

    Nothing of it is imported. Raises MissingComponent.
    """
    spec = importlib.util.find_spec("openvino") if has_module("openvino") else None
    if spec is None or spec.origin is None:
        raise MissingComponent(
            f"OpenVINO's C++ library: openvino is not installed; {install_line('openvino')}, or install its archive "
            "and pass -DOpenVINO_ROOT to CMake"
        )
    directory = Path(spec.origin).parent
    if not (directory / "cmake" / "OpenVINOConfig.cmake").is_file():
        raise MissingComponent(
            f"{directory}: this build of OpenVINO has no CMake package; {install_line('openvino')} from a wheel, "
            "or install its archive and pass -DOpenVINO_ROOT to CMake"
        )
    return directory
