"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.errors import InputError

BundleArgument = Annotated[
    Path | None,
    typer.Argument(metavar="BUNDLE", help="The bundle; may be left out where the folder holds exactly one."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of text.")]


def bundle_path(given: Path | None) -> Path:
    """The bundle named on the line, or the only one in the working directory."""
    from segdino_deploy.bundle import find_bundle

    return given if given is not None else find_bundle(Path())


def parse_integers(option: str, text: str | None) -> tuple[int, ...] | None:
    """`1,2` to (1, 2). InputError names the option."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option}: {text!r} is not a list of whole numbers such as 1,2") from error
