"""Bundles with typed models and engines built from them on paper: comparing layers opens no engine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.calibration.calibrate import CalibrationOptions
from segdino_deploy.engines.precision.typed import make_typed_model
from segdino_deploy.manifest import Engine, Manifest, Precision

Typed = Callable[[str, str, Precision], tuple[Bundle, str]]


def add_typed_engine(bundle: Bundle, backend: str, precision: Precision, calibration: Path | None = None) -> str:
    """Makes the typed model as `build-engine` does and names an engine of it; gives the engine's name."""
    typed = make_typed_model(bundle, precision, backend, CalibrationOptions(calibration))
    name = f"{backend}-{precision}"
    engine = Engine(
        file=f"engines/{name}", backend=backend, precision=precision, source=typed.record.file, built_with={}
    )

    def add(manifest: Manifest) -> Manifest:
        onnx = {**manifest.onnx, typed.key: typed.record}
        return manifest.model_copy(update={"onnx": onnx, "engines": {**manifest.engines, name: engine}})

    files = dict.fromkeys(engine.read_files, b"nothing that could run")
    bundle.update({**typed.files, **files}, add)
    return name


@pytest.fixture(scope="module")
def typed(exported: Callable[[str], Path], calibration_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Typed:
    """A golden model's bundle with an engine of a backend and precision, made once per module, and its name."""
    made: dict[tuple[str, str, Precision], tuple[Bundle, str]] = {}

    def get(name: str, backend: str, precision: Precision) -> tuple[Bundle, str]:
        key = (name, backend, precision)
        if key not in made:
            path = tmp_path_factory.mktemp("typed") / f"{name}.segdino"
            shutil.copytree(exported(name), path)
            bundle = Bundle.open(path)
            images = calibration_images if precision == "int8" else None
            made[key] = bundle, add_typed_engine(bundle, backend, precision, images)
        return made[key]

    return get


@pytest.fixture
def typed_copy(typed: Typed, tmp_path: Path) -> Typed:
    """A private copy of it, free to be changed."""

    def get(name: str, backend: str, precision: Precision) -> tuple[Bundle, str]:
        bundle, engine = typed(name, backend, precision)
        shutil.copytree(bundle.path, tmp_path / bundle.path.name)
        return Bundle.open(tmp_path / bundle.path.name), engine

    return get
