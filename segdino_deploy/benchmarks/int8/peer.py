"""The peer, NNCF, in an environment of its own: installing it, and quantizing with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.progress import OnStep, ignore
from segdino_deploy.requirements import require_module

NNCF = "3.4.0"
SAME_AS_OURS = ("openvino", "onnx", "numpy", "pillow")
SCRIPT = Path(__file__).parent / "peer_script.py"
READ_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class PeerRecord(BaseModel):
    """What the script says of one quantization."""

    versions: dict[str, str]
    images: int
    seconds: float


def wanted_versions() -> dict[str, str]:
    """NNCF, and everything both sides use in the version that runs here. MissingComponent: no OpenVINO here."""
    require_module("openvino", "comparing with the peer", extra="openvino")
    return {"nncf": NNCF} | {name: version(name) for name in SAME_AS_OURS}


def prepare_peer(directory: Path, on_step: OnStep = ignore) -> Path:
    """The interpreter of the peer's environment, which is made or brought to `wanted_versions` where it differs.

    Raises InputError: `directory` is something else; MissingComponent: it cannot be installed.
    """
    wanted = wanted_versions()
    python = _python(directory)
    if not python.exists():
        if directory.exists() and any(directory.iterdir()):
            raise InputError(f"--peer-env: {directory} is no virtual environment; name another place")
        on_step(f"making {directory}")
        _install([sys.executable, "-m", "venv", str(directory)], directory)
    if _installed(python, wanted) != wanted:
        on_step(f"installing nncf {NNCF} into {directory}")
        packages = [f"{name}=={number}" for name, number in wanted.items()]
        _install([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *packages], directory)
    return python


def quantize(python: Path, model: Path, images_nhwc: NDArray[np.uint8], directory: Path) -> tuple[Path, PeerRecord]:
    """NNCF's quantization of an ONNX model, calibrated on uint8 `[N, H, W, 3]`: OpenVINO IR in `directory`.

    SegdinoDeployError where it fails.
    """
    images, quantized = directory / "images.npy", directory / "peer.xml"
    np.save(images, images_nhwc)
    environment = os.environ | {"PYTHONSAFEPATH": "1"}  # what lies beside the script is not to be imported
    done = _run([str(python), str(SCRIPT), str(model), str(images), str(quantized)], environment)
    if done.returncode:
        raise SegdinoDeployError(f"the peer cannot quantize {model.name}: {_last_line(done)}")
    return quantized, PeerRecord.model_validate_json(quantized.with_suffix(".json").read_bytes())


def _python(directory: Path) -> Path:
    return directory / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _installed(python: Path, names: Mapping[str, str]) -> dict[str, str]:
    done = _run([str(python), "-c", READ_VERSIONS, *names])
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def _install(command: Sequence[str], directory: Path) -> None:
    done = _run(command)
    if done.returncode:
        raise MissingComponent(f"the peer, nncf {NNCF}, cannot be installed into {directory}: {_last_line(done)}")


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except OSError as error:
        raise MissingComponent(f"{command[0]} cannot be run ({error.strerror}); remove its environment") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1][:300] if lines else f"exit code {done.returncode}"
