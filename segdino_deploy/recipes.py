"""Recipes: the options of `export` and `build-engine` as TOML files. Unknown keys are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from segdino_deploy.errors import InputError, one_line
from segdino_deploy.manifest import Precision

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Recipe(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExportRecipe(Recipe):
    """Same names and forms as the options of `segdino-deploy export`; options on the command line win."""

    heads: dict[str, str] = {}  # [heads]: name = path, relative to the working directory
    size: str | None = None
    batch: str | None = None
    outputs: str | None = None
    classes: str | dict[str, str] = {}  # "a,b,c", or [classes]: head = "a,b,c"
    threshold: float | None = None
    taps: str | None = None
    mean: str | None = None
    std: str | None = None

    @property
    def head_lines(self) -> list[str]:
        """As `--head` on the command line."""
        return [f"{name}={path}" for name, path in self.heads.items()]

    @property
    def class_lines(self) -> list[str]:
        """As `--classes` on the command line."""
        if isinstance(self.classes, str):
            return [self.classes]
        return [f"{head}={names}" for head, names in self.classes.items()]


class BuildRecipe(Recipe):
    """Same names as the options of `segdino-deploy build-engine`."""

    precisions: list[Precision] = []
    backends: list[str] = []
    calibration: Path | None = None  # relative to the working directory
    lowering: str = "auto"


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def read_recipe(path: Path, kind: type[AnyRecipe]) -> AnyRecipe:
    """Reads and checks a recipe. InputError names the file and the first wrong key."""
    try:
        return kind.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such recipe") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML ({one_line(error)})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        known = ", ".join(kind.model_fields)
        raise InputError(f"{path}: {place}: {first['msg'].lower()} (known keys: {known})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)})") from error
