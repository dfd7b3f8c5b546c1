"""What works with the core dependencies only: a device has no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import segdino_deploy
from segdino_deploy import Bundle, build_engine
from segdino_deploy.engines.build import BuildOptions
from tests.conftest import GOLDEN

# Nothing outside the core dependencies can be imported, as if it were not installed.
BARE = """
import sys
from importlib.abc import MetaPathFinder

HIDDEN = {"torch", "onnxscript", "onnxsim", "safetensors", "openvino", "tensorrt", "tensorrt_rtx", "transformers",
          "scipy", "cuda", "pycuda", "nncf", "jinja2", "matplotlib", "playwright", "sklearn",
          "pyvips", "tifffile", "pyarrow", "ray", "fsspec", "tritonclient", "grpc", "gevent", "geventhttpclient",
          "fastapi", "starlette", "uvicorn", "prometheus_client"}

class Hide(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Hide())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] in HIDDEN else real(name, package)
"""


def bare(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BARE + code, *arguments], capture_output=True, text=True)


def bare_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return bare(
        "\nsys.argv[0] = 'segdino-deploy'\nfrom segdino_deploy.cli.app import main\nmain()\n", *map(str, arguments)
    )


def test_the_package_imports() -> None:
    done = bare("import segdino_deploy; print(segdino_deploy.__version__)")
    assert done.returncode == 0, done.stderr


def test_every_module_can_be_the_first_one_that_is_imported() -> None:
    package = Path(segdino_deploy.__file__).parent
    files = [path for path in package.rglob("*.py") if path.name != "__main__.py"]
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in files]
    code = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "segdino_deploy"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # of a peer that is not installed here; what is missing is never ours
        if (error.name or "").startswith("segdino_deploy"):
            raise
"""
    arguments = sorted(name.removesuffix(".__init__") for name in names)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)

    assert len(arguments) > 150
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "",
        "inspect",
        "export",
        "build-engine",
        "bench",
        "predict",
        "verify",
        "doctor",
        "demo",
        "triton",
        "serve",
        "cpp-path",
    ],
)
def test_help_works_and_loads_nothing_heavy(command: str) -> None:
    code = """
from segdino_deploy.cli.app import run
assert run(sys.argv[1:]) == 0
heavy = {"torch", "onnx", "onnxruntime", "cv2", "numpy", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""
    done = bare(code, *filter(None, [command]), "--help")

    assert done.returncode == 0, done.stderr
    assert "Usage: segdino-deploy" in done.stdout


def test_doctor_says_what_to_install() -> None:
    done = bare_cli("doctor")

    assert done.returncode == 0
    for extra in ("export", "openvino", "tensorrt-rtx", "tensorrt"):
        assert f"pip install 'segdino-deploy[{extra}]'" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("export", str(GOLDEN / "v1_convt.pth")), "export"),
        (("inspect", str(GOLDEN / "v1_convt.pth")), "export"),
        (("demo",), "export"),
    ],
)
def test_what_needs_torch_says_so(arguments: tuple[str, ...], extra: str) -> None:
    done = bare_cli(*arguments)

    assert done.returncode == 3
    assert f"pip install 'segdino-deploy[{extra}]'" in done.stderr.splitlines()[-1]


def test_a_device_builds_runs_verifies_and_benches_without_torch(
    bundle_copy: Callable[..., Bundle], tmp_path: Path, calibration_images: Path
) -> None:
    bundle = bundle_copy()
    for precision in ("fp32", "int8"):
        build_engine(bundle, BuildOptions(precision, "onnxruntime", calibration_images))  # type: ignore[arg-type]

    for arguments in (
        ("build-engine", bundle.path, "--fp16"),
        ("verify", bundle.path),
        ("bench", bundle.path, "--rounds", "2", "--starts", "1", "--data", calibration_images),
        ("predict", bundle.path, calibration_images, "-o", tmp_path / "out"),
        ("inspect", bundle.path),
    ):
        done = bare_cli(*arguments)
        assert done.returncode == 0, done.stderr

    assert len(list((tmp_path / "out").glob("*.overlay.png"))) == len(list(calibration_images.iterdir()))
