"""Recipes: the options of `export` and `build-engine` as TOML files. Unknown keys are refused."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, StrictInt, ValidationError

from segdino_deploy.engines.tensorrt.options import OptionRefused, TensorRtOptions
from segdino_deploy.engines.tensorrt.versions import options_for_receipt
from segdino_deploy.errors import InputError, one_line
from segdino_deploy.manifest import Engine, Precision, TypedModel

if TYPE_CHECKING:
    from segdino_deploy.engines.build import BuildOptions

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
    calibration_method: str | None = None
    calibration_images: StrictInt | None = None
    seed: StrictInt = 0
    fp32_groups: list[str] | None = None  # under int8, exactly these; left out: those that need a search
    smoothing: dict[str, float] | None = None  # [smoothing]: strength by layer; left out: searched
    inference_precision: str | None = None  # OpenVINO; left out: measured
    lowering: str = "auto"
    tensorrt: TensorRtOptions = TensorRtOptions()  # [tensorrt]

    def options(self, precision: Precision, backend: str | None, calibration: Path | None = None) -> BuildOptions:
        """As `build_engine` takes them. InputError for an unknown method or spelling."""
        from segdino_deploy.engines.build import BuildOptions
        from segdino_deploy.engines.calibration.histogram import require_method
        from segdino_deploy.engines.lowering.choose import parse_lowering

        return BuildOptions(
            precision,
            backend,
            calibration or self.calibration,
            parse_lowering(self.lowering),
            self.inference_precision,
            calibration_method=None if self.calibration_method is None else require_method(self.calibration_method),
            calibration_images=self.calibration_images,
            seed=self.seed,
            smoothing=self.smoothing,
            fp32_groups=None if self.fp32_groups is None else tuple(self.fp32_groups),
            tensorrt=self.tensorrt,
        )


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def read_recipe(path: Path, kind: type[AnyRecipe]) -> AnyRecipe:
    """Reads and checks a recipe. InputError names the file and the first wrong key."""
    try:
        return kind.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such recipe") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML ({one_line(error)})") from error
    except OptionRefused as error:
        raise InputError(f"{path}: tensorrt.{error.field}: {error.why}") from error
    except ValidationError as error:
        raise InputError(f"{path}: {_in_words(error, kind)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)})") from error


def _in_words(error: ValidationError, kind: type[Recipe]) -> str:
    """Key and reason of the first error; of an unknown key also those that are known."""
    first = error.errors()[0]
    said = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}"
    if first["type"] not in ("extra_forbidden", "unexpected_keyword_argument"):
        return said
    in_table = len(first["loc"]) > 1 and first["loc"][0] == "tensorrt"
    known = [field.name for field in fields(TensorRtOptions)] if in_table else list(kind.model_fields)
    return f"{said} (known keys: {', '.join(known)})"


def write_build_recipe(options: BuildOptions, engine: Engine, typed: TypedModel) -> str:
    """The recipe that builds an int8 engine again: same groups, same spellings, nothing searched, nothing measured."""
    from segdino_deploy.engines.lowering.choose import AS_EXPORTED

    assert typed.int8 is not None
    lowering = [record.chosen for record in engine.lowering if record.chosen != AS_EXPORTED]
    lines = [
        f"# Builds {engine.backend}-{engine.precision} again without a search:",
        "# segdino-deploy build-engine BUNDLE --recipe THIS.toml [--calibration DIR]",
        f"precisions = {json.dumps([engine.precision])}",
        f"backends = {json.dumps([engine.backend])}",
        f"calibration_method = {json.dumps(typed.int8.method)}",
    ]
    if options.calibration_images is not None:
        lines += [f"calibration_images = {options.calibration_images}", f"seed = {options.seed}"]
    lines.append(f"lowering = {json.dumps(','.join(lowering) or 'none')}")
    if engine.inference_precision is not None:
        lines.append(f"inference_precision = {json.dumps(engine.inference_precision)}")
    lines += ["fp32_groups = [", *(f"  {json.dumps(group)}, # {why}" for group, why in typed.int8.floats.items()), "]"]
    if given := options_for_receipt(options.tensorrt):
        lines += ["", "[tensorrt]", *(f"{name} = {json.dumps(value)}" for name, value in given.items())]
    lines += ["", "[smoothing]", *(f"{json.dumps(k)} = {v}" for k, v in typed.int8.strengths.items())]
    return "\n".join(lines) + "\n"
