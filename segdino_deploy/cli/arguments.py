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
EngineOrBundleArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="BUNDLE",
        help="The bundle, or one engine file in it; may be left out where the folder holds exactly one.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of text.")]
ForegroundOption = Annotated[
    str | None, typer.Option(metavar="V,W", help="Mask values that are foreground, one class. Default: above 127.")
]
ImageDirOption = Annotated[str, typer.Option(metavar="NAME", help="Folder of the images in the data set.")]
MaskDirOption = Annotated[str, typer.Option(metavar="NAME", help="Folder of the masks in the data set.")]
HeadOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Whose masks --data holds, where the model has several heads.")
]


def bundle_path(given: Path | None) -> Path:
    """The bundle named on the line, or the only one in the working directory."""
    from segdino_deploy.bundle import find_bundle

    return given if given is not None else find_bundle(Path())


def split_names(text: str) -> list[str]:
    """`a,b` to [a, b]."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_integers(option: str, text: str | None) -> tuple[int, ...] | None:
    """`1,2` to (1, 2). InputError names the option."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option}: {text!r} is not a list of whole numbers such as 1,2") from error
