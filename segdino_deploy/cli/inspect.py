"""`segdino-deploy inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segdino_deploy.cli.arguments import JsonOption
from segdino_deploy.cli.console import print_json, print_line


def command(
    path: Annotated[Path, typer.Argument(help="A checkpoint, an ONNX model, an engine or a bundle.")],
    as_json: JsonOption = False,
) -> None:
    """Say what a file is.

    Checkpoint, ONNX model, engine or bundle: family, sizes, precision, receipts.
    """
    from segdino_deploy.inspection import inspect_path

    found = inspect_path(path)
    if as_json:
        print_json(found)
        return
    print_line(f"{path}: {found.pop('kind')}")
    _print_tree(found, indent=2)


def _print_tree(value: dict[str, Any], indent: int) -> None:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            print_line(f"{' ' * indent}{key}")
            _print_tree(item, indent + 2)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            for entry in item:
                print_line(f"{' ' * indent}{key}")
                _print_tree(entry, indent + 2)
        elif item not in (None, "", [], {}):
            text = ", ".join(map(str, item)) if isinstance(item, (list, tuple)) else item
            print_line(f"{' ' * indent}{key}: {text}")
