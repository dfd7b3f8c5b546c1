"""`segdino-deploy cpp-path`."""

from __future__ import annotations

from typing import Annotated

import typer

from segdino_deploy.cli.arguments import JsonOption
from segdino_deploy.cli.console import print_json, print_line


def command(
    openvino: Annotated[
        bool, typer.Option("--openvino", help="And that of the installed OpenVINO package, behind a ';'.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print where the C++ library's sources are.

    cmake -DCMAKE_PREFIX_PATH="$(segdino-deploy cpp-path --openvino)" makes find_package(segdino) build them.
    """
    from segdino_deploy.native import cpp_directory, openvino_directory

    sources = cpp_directory()
    packages = [openvino_directory()] if openvino else []
    prefix_path = ";".join(map(str, [sources, *packages]))
    if as_json:
        print_json(
            {"sources": str(sources), "openvino": str(packages[0]) if packages else None, "prefix_path": prefix_path}
        )
        return
    print_line(prefix_path)
