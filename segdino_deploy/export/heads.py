"""Which heads an export joins: their names, files and classes, checked before anything heavy starts."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.errors import InputError

HEAD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class HeadSource:
    """One head of an export: its checkpoint and what is its own."""

    checkpoint: Path
    class_names: tuple[str, ...] | None = None  # None: made from the head's name
    taps: tuple[int, ...] | None = None  # None: upstream's for the depth


def choose_sources(
    checkpoint: Path | None, heads: Sequence[str], classes: Sequence[str], taps: tuple[int, ...] | None
) -> dict[str, HeadSource]:
    """The heads of a command line, by name: `heads` as NAME=PATH, or the one checkpoint under an empty name.

    `classes` as `parse_classes` takes them; `taps` hold for all. InputError where both or neither are given.
    """
    files = named = parse_heads(heads)
    if checkpoint is not None and named:
        raise InputError(f"{checkpoint}: a CHECKPOINT and --head do not go together; give it a name: --head NAME=PATH")
    if checkpoint is not None:
        files = {"": checkpoint}
    elif not named:
        raise InputError("name a CHECKPOINT, or several heads on one backbone: --head NAME=PATH --head NAME=PATH")
    class_names = parse_classes(classes, named)
    return {name: HeadSource(path, class_names.get(name), taps) for name, path in files.items()}


def check_head_name(name: str) -> str:
    """The name, or InputError: it becomes part of tensor and file names."""
    if not HEAD_NAME.fullmatch(name):
        raise InputError(f"--head: {name!r} is no name for a head: a letter, then letters, digits, _ or -")
    return name


def parse_heads(values: Sequence[str]) -> dict[str, Path]:
    """`polyp=a.pth` to name and checkpoint. InputError: no NAME=PATH, a bad name, a name twice."""
    heads: dict[str, Path] = {}
    for value in values:
        name, equals, path = (part.strip() for part in value.partition("="))
        if not (name and equals and path):
            raise InputError(f"--head: {value!r} is not NAME=PATH, such as polyp=polyp.pth")
        if check_head_name(name).lower() in {known.lower() for known in heads}:  # some file systems see no difference
            raise InputError(f"--head: {name} is given twice; every head needs its own name, whatever its case")
        heads[name] = Path(path)
    return heads


def parse_classes(values: Sequence[str], heads: Collection[str]) -> dict[str, tuple[str, ...]]:
    """`a,b,c`, or with heads `polyp=a,b,c` for each, to class names by head (empty where heads have no names).

    InputError where the form does not fit, or a head is unknown or named twice.
    """
    classes: dict[str, tuple[str, ...]] = {}
    for value in values:
        head, equals, names = value.partition("=") if heads else ("", "=", value)
        if not heads and "=" in value:
            raise InputError(f"--classes: {value!r} names a head, and there is no --head; write A,B,C")
        if not equals:
            raise InputError(f"--classes: {value!r} names no head; write HEAD=A,B,C with one of {', '.join(heads)}")
        if heads and head.strip() not in heads:
            raise InputError(f"--classes: {head.strip()!r} is none of the heads {', '.join(heads)}")
        if head.strip() in classes:
            raise InputError(f"--classes: {value!r} comes second; name all classes of a head at once")
        classes[head.strip()] = tuple(name.strip() for name in names.split(","))
        if "" in classes[head.strip()]:
            raise InputError(f"--classes: {value!r} holds an empty name")
    return classes
