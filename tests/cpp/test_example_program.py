"""The example program's errors and help, and the README's example in Python."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import EXAMPLE
from tests.cpp.building import CPP, NativeBuild
from tests.cpp.c_api_helpers import IMAGE, change_manifest, with_engine_of
from tests.cpp.capi import NativeSegmenter


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], 2, "usage: segment_image BUNDLE IMAGE MASK.png [ENGINE]; see --help"),
        (["{bundle}", "{bundle}", "{out}.png"], 2, "{bundle}: a folder, not an image"),
        (["nowhere.segdino", "{image}", "{out}.png"], 2, "no such bundle"),
        (["{bundle}", "nowhere.png", "{out}.png"], 2, "nowhere.png: no such file"),
        (["{bundle}", "{bundle}/manifest.json", "{out}.png"], 2, "not an image that can be read"),
        (["{bundle}", "{deep}", "{out}.png"], 2, "16-bit pixels; convert to 8-bit as for training, then retry"),
        (["{bundle}", "{image}", "{out}.jpg"], 2, "name one that ends in .png"),
        (["{bundle}", "{image}", "{image}/x.png"], 2, "cannot be written"),
        (["{bundle}", "{image}", "{out}.png", "tensorrt-fp16"], 2, "tensorrt-fp16"),
    ],
)
def test_the_example_program_fails_as_the_cli_does(
    arguments: list[str], code: int, named: str, demo_bundle: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((8, 8), np.uint16))
    image = sorted((EXAMPLE / "test" / "image").iterdir())[0]
    places = {"bundle": demo_bundle, "image": image, "out": tmp_path / "out", "deep": tmp_path / "deep.png"}

    done = native_build.run("segment_image", *[argument.format(**places) for argument in arguments])

    assert done.returncode == code
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and named.format(**places) in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep.png"]


def test_the_example_program_has_a_help(native_build: NativeBuild) -> None:
    done = native_build.run("segment_image", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: segment_image BUNDLE IMAGE MASK.png [ENGINE]\n")
    assert "Exit codes: 0 done" in done.stdout


@pytest.mark.parametrize("kind", ["tiff", "webp"])
def test_stb_names_what_it_reads_and_what_reads_more(
    kind: str, demo_bundle: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    from PIL import Image

    greeting = json.loads(native_build.run("segdino_bench", "--version").stdout)
    if greeting["image_files"] != "stb":
        pytest.skip("OpenCV reads it")
    Image.fromarray(IMAGE).save(tmp_path / f"image.{kind}")

    done = native_build.run("segment_image", demo_bundle, tmp_path / f"image.{kind}", tmp_path / "mask.png")

    assert done.returncode == 2
    assert "stb reads PNG, JPEG and BMP; convert it, or build with OpenCV" in done.stderr


def test_the_readmes_example_in_python_gives_the_mask(
    demo_bundle: Path, native_build: NativeBuild, segmenter: NativeSegmenter, tmp_path: Path
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (CPP / "README.md").read_text(), re.DOTALL)
    height, width = IMAGE.shape[:2]
    (tmp_path / "rgb").write_bytes(IMAGE.tobytes())
    for written, here in (
        ('"libsegdino.so"', repr(str(native_build.library))),
        ('b"polyp.segdino"', repr(str(demo_bundle).encode())),
        ("640, 480", f"{width}, {height}"),
        ("bytes(width * height * 3)", f"open({str(tmp_path / 'rgb')!r}, 'rb').read()"),
    ):
        assert example.count(written) == 1
        example = example.replace(written, here)
    names: dict[str, Any] = {}

    exec(example, names)

    np.testing.assert_array_equal(
        np.frombuffer(names["mask"], np.uint8).reshape(height, width), segmenter.segment(IMAGE)
    )


def test_the_example_program_says_what_is_missing(demo_copy: Path, native_build: NativeBuild, tmp_path: Path) -> None:
    change_manifest(demo_copy, with_engine_of("tensorrt-rtx"))
    image = sorted((EXAMPLE / "test" / "image").iterdir())[0]

    done = native_build.run("segment_image", demo_copy, image, tmp_path / "mask.png")

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
