"""The model that lies in a folder of a repository already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdino_deploy.errors import InputError
from segdino_deploy.triton.protos import from_text
from segdino_deploy.triton.record import ServedVersion, from_parameters

CONFIG = "config.pbtxt"


@dataclass(frozen=True)
class ExistingModel:
    """One that this program wrote."""

    config: Any  # Triton's ModelConfig
    text: str  # of its file
    versions: dict[int, ServedVersion]  # that are served


def read_existing(folder: Path) -> ExistingModel | None:
    """The model in `folder`, None where nothing is there. InputError where something else is; its line ends with the
    cure.
    """
    if not folder.exists():
        return None
    cure = "choose another --name or -o, or remove it"
    file = folder / CONFIG
    if not file.is_file():
        raise InputError(f"{folder}: exists and is no model that this program wrote; {cure}")
    try:
        text = file.read_text(encoding="utf-8")
        config = from_text(text, f"{file}")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: damaged, not a text; {cure}") from error
    except InputError as error:
        raise InputError(f"{error}; {cure}") from error
    versions = from_parameters({key: value.string_value for key, value in config.parameters.items()}, f"{file}")
    if not versions:
        raise InputError(f"{folder}: is a model that another program wrote; {cure}")
    return ExistingModel(config, text, versions)


def numbered(folder: Path) -> list[int]:
    """Versions in a model's folder, whoever made them: their numbers are not used again."""
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
