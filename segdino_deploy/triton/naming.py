"""Names of served models: they are folders, parts of URLs and metric labels, so only letters, digits, _ and -."""

from __future__ import annotations

import re
from pathlib import Path

from segdino_deploy.errors import InputError

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def model_name(bundle: Path) -> str:
    """`polyp` for `polyp.segdino`; what a name cannot hold becomes _. InputError where nothing is left."""
    stem = bundle.resolve().name.removesuffix(".segdino")
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")
    if not name:
        raise InputError(f"{bundle}: gives no name that Triton can serve; name it with --name")
    return name


def check_name(name: str) -> str:
    """The name itself. InputError where it is none that can be served everywhere."""
    if not _SAFE.fullmatch(name):
        raise InputError(f"--name: {name!r} is no name for a model: letters, digits, _ and - only")
    return name
