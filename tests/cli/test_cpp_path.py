"""Where the C++ library's sources are: in a clone, in the wheel, and when they are missing."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from segdino_deploy import __version__, native
from tests.cli.conftest import Cli

ROOT = Path(__file__).parent.parent.parent


def test_a_clone_gives_its_own_sources(cli: Cli) -> None:
    done = cli("cpp-path")

    assert (done.code, done.stdout) == (0, f"{ROOT / 'cpp'}\n")
    assert (Path(done.stdout.strip()) / "cmake" / "segdinoConfig.cmake").is_file()  # where CMake searches a prefix


def test_openvinos_prefix_comes_behind_a_semicolon(cli: Cli) -> None:
    openvino = pytest.importorskip("openvino")

    done = cli("cpp-path", "--openvino")

    sources, found = done.stdout.strip().split(";")
    assert sources == str(ROOT / "cpp")
    assert found == str(Path(openvino.__file__).parent)
    assert (Path(found) / "cmake" / "OpenVINOConfig.cmake").is_file()


def test_json_says_the_same(cli: Cli) -> None:
    path = str(ROOT / "cpp")

    assert json.loads(cli("cpp-path", "--json").stdout) == {"sources": path, "openvino": None, "prefix_path": path}


def test_without_openvino_the_cure_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "has_module", lambda _: False)

    done = cli("cpp-path", "--openvino")

    assert done.code == 3
    assert "pip install 'segdino-deploy[openvino]'" in done.error
    assert done.stdout == ""


def test_an_openvino_without_its_cmake_package_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)

    done = cli("cpp-path", "--openvino")

    assert done.code == 3
    assert f"{tmp_path / 'openvino'}: this build of OpenVINO has no CMake package" in done.error


def test_a_package_without_sources_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "__file__", str(tmp_path / "segdino_deploy" / "native.py"))

    done = cli("cpp-path")

    assert done.code == 3
    assert "install segdino-deploy again" in done.error


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install` of the wheel puts into site-packages."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "site")
    return directory / "site"


def test_the_wheel_gives_the_sources_that_it_carries(unpacked_wheel: Path) -> None:
    code = "from segdino_deploy.cli.app import main; main()"
    command = [sys.executable, "-c", code, "cpp-path"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=unpacked_wheel, env={"PYTHONPATH": str(unpacked_wheel)}
    )

    assert done.stdout.strip() == str(unpacked_wheel / "segdino_deploy" / "cpp"), done.stderr


def test_the_wheel_carries_every_source_that_a_build_needs(unpacked_wheel: Path) -> None:
    """All that git has below cpp/, but the tests."""
    packaged = unpacked_wheel / "segdino_deploy" / "cpp"
    found = {str(path.relative_to(packaged)) for path in packaged.rglob("*") if path.is_file()}
    folders = ("bench", "cmake", "examples", "include", "src")
    needed = {
        str(path.relative_to(ROOT / "cpp"))
        for folder in folders
        for path in (ROOT / "cpp" / folder).rglob("*")
        if path.is_file()
    }

    assert found == needed | {"CMakeLists.txt", "README.md"}


def test_the_c_plus_plus_library_has_the_packages_version() -> None:
    text = (ROOT / "cpp" / "CMakeLists.txt").read_text()

    assert f"project(segdino VERSION {__version__} " in text
