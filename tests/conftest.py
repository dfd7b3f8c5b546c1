"""Shared fixtures: upstream's golden files and bundles exported from them, each made once per session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.bundle import Bundle
from segdino_deploy.requirements import has_module

GOLDEN = Path(__file__).parent / "golden"
EXAMPLE = Path(__file__).parent.parent / "examples" / "mri"
GOLDEN_NAMES = tuple(json.loads((GOLDEN / "index.json").read_text()))
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Golden:
    """One of upstream's own checkpoints with its outputs."""

    name: str
    checkpoint: Path
    family: str
    num_classes: int
    input_hw: tuple[int, int]
    taps: tuple[int, ...]
    image: NDArray[np.uint8]  # [2, H, W, 3]
    logits: NDArray[np.float32]  # [2, C, H, W]
    features_last: NDArray[np.float32]  # [2, h * w, D]


def read_golden(name: str) -> Golden:
    entry = json.loads((GOLDEN / "index.json").read_text())[name]
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        height, width = entry["input_hw"]
        return Golden(
            name,
            GOLDEN / f"{name}.pth",
            entry["family"],
            entry["num_classes"],
            (height, width),
            tuple(entry["taps"]),
            arrays["image"],
            arrays["logits"],
            arrays["features_last"],
        )


@pytest.fixture(params=GOLDEN_NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(request.param)


@pytest.fixture(scope="session", autouse=True)
def shared_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """See `tests/traces.py`."""
    if not has_module("torch"):
        yield
        return
    from segdino_deploy.export import trace
    from tests.traces import sharing

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "traces"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "trace_module", sharing(trace.trace_module, folder))
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a test that is marked `own_process` in one: Ctrl-C among the native libraries of all other tests has ended
    whole workers.
    """
    if pyfuncitem.get_closest_marker("own_process") is None or "SEGDINO_OWN_PROCESS" in os.environ:
        return None
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=pyfuncitem.config.rootpath, env=environment | {"SEGDINO_OWN_PROCESS": "1"}, capture_output=True
    )
    if done.returncode:
        pytest.fail(done.stdout.decode(errors="replace"), pytrace=False)
    return True


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of the bundle of a golden checkpoint (outputs: mask and logits). Never change it: see `bundle_copy`."""
    from segdino_deploy import export_model
    from segdino_deploy.export.options import ExportOptions

    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            golden = read_golden(name)
            path = tmp_path_factory.mktemp("exported") / f"{name}.segdino"
            export_model(golden.checkpoint, path, ExportOptions(input_size=golden.input_hw, outputs=("mask", "logits")))
            made[name] = path
        return made[name]

    return get


@pytest.fixture
def bundle_copy(exported: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Bundle]:
    """A private copy of an exported bundle, free to be changed."""

    def get(name: str = "v1_convt") -> Bundle:
        path = tmp_path / f"{name}.segdino"
        shutil.copytree(exported(name), path)
        return Bundle.open(path)

    return get


@pytest.fixture(scope="session")
def calibration_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four real slices."""
    directory = tmp_path_factory.mktemp("calibration")
    for path in sorted((EXAMPLE / "train" / "image").iterdir())[:4]:
        shutil.copy(path, directory)
    return directory


@pytest.fixture(scope="session")
def shared_backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Upstream's v1_convt checkpoint, and the heads of other golden checkpoints on its backbone."""
    import torch

    from segdino_deploy.model.checkpoint import read_checkpoint

    directory = tmp_path_factory.mktemp("shared_backbone")
    backbone = read_checkpoint(GOLDEN / "v1_convt.pth").backbone

    def get(name: str) -> Path:
        if name == "v1_convt":
            return GOLDEN / "v1_convt.pth"
        path = directory / f"{name}_grafted.pth"
        if not path.exists():
            head = read_checkpoint(GOLDEN / f"{name}.pth").head
            torch.save({**{f"backbone.{key}": tensor for key, tensor in backbone.items()}, **head}, path)
        return path

    return get


@pytest.fixture(scope="session")
def joint(shared_backbone: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with two heads on v1_convt's backbone: polyp (v1_convt, 1 class) and tissue (v2, 3 classes)."""
    from segdino_deploy import export_heads
    from segdino_deploy.export.options import ExportOptions

    path = tmp_path_factory.mktemp("joint") / "joint.segdino"
    heads = {"polyp": shared_backbone("v1_convt"), "tissue": shared_backbone("v2_3class_sat")}
    export_heads(heads, path, ExportOptions(input_size=(64, 96), outputs=("mask", "logits")))
    return path


@pytest.fixture
def joint_copy(joint: Path, tmp_path: Path) -> Bundle:
    """A private copy of `joint`, free to be changed."""
    shutil.copytree(joint, tmp_path / "joint.segdino")
    return Bundle.open(tmp_path / "joint.segdino")
