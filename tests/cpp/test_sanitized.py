"""The C API and the example program under AddressSanitizer and UndefinedBehaviorSanitizer, with a backend inside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from segdino_deploy import open_engine
from segdino_deploy.segment import segment_file
from tests.conftest import EXAMPLE
from tests.cpp.building import ROOT, NativeBuild

# Needs numpy alone: other libraries' own leaks and habits are not the question.
SESSION = """
import sys, threading
from ctypes import POINTER, byref, c_uint8
from pathlib import Path
import numpy as np
from tests.cpp.capi import *

library, bundle = NativeLibrary(Path(sys.argv[1])), Path(sys.argv[2])
rng = np.random.default_rng(1)
frames = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in [(1, 1), (7, 900), (256, 256), (1000, 3), (311, 123)]]
nv12 = rng.integers(0, 256, (96, 64), np.uint8)
views = [View(nv12, "nv12"), View(nv12, "nv12", region=(3, 5, 17, 9)), View(frames[2], "bgr", region=(250, 0, 6, 256))]

def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except NativeError:
        return
    raise AssertionError("was not refused")

with library.open(bundle, check_canary=1) as first, first.share() as second:
    first.analyse([*frames, *views])
    threads = [threading.Thread(target=lambda s=s: [s.segment(frame) for frame in frames]) for s in (first, second)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    refused(first.analyse, frames, probability=True)
    refused(first.read, 99, 0, MASK, (1,), np.uint8)
    refused(first.read, 0, 0, MASK, (2,), np.uint8)
    refused(first.segment, View(frames[2], region=(0, 0, 257, 1)))
    refused(library.call, "segdino_segment", first.handle, None, None, 0)
    first.analyse([])
refused(library.open, bundle / "nowhere")
refused(library.open, bundle, precision="int8")
refused(library.open, bundle, engine="x" * 10000)
print("done")
"""


def test_a_whole_session_of_the_c_api(sanitized_build: NativeBuild, demo_bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(sanitized_build.library), str(demo_bundle)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **sanitized_build.python_environment},
    )

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_the_example_program(sanitized_build: NativeBuild, demo_bundle: Path, tmp_path: Path) -> None:
    """Leaks count here; of the backends, too, none is known."""
    photo = sorted((EXAMPLE / "test" / "image").iterdir())[1]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photo).convert("RGB").crop((0, 0, 200, 131)).save(tmp_path / "photo.png", exif=exif)
    with open_engine(demo_bundle) as runner:
        _, masks = segment_file(runner, tmp_path / "photo.png")

    done = sanitized_build.run("segment_image", demo_bundle, tmp_path / "photo.png", tmp_path / "mask.png")

    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")), masks[""] * 255)


def test_damaged_image_files_are_refused(sanitized_build: NativeBuild, demo_bundle: Path, tmp_path: Path) -> None:
    """Cut off or changed at many places: the example reads what strangers send."""
    photo = Image.open(sorted((EXAMPLE / "test" / "image").iterdir())[1]).resize((40, 30))
    exif = Image.Exif()
    exif[0x0112] = 8
    rng = np.random.default_rng(5)
    for kind in ("png", "jpg"):
        photo.save(tmp_path / f"photo.{kind}", exif=exif)
        whole = (tmp_path / f"photo.{kind}").read_bytes()
        damaged = [whole[: len(whole) * part // 6] for part in range(1, 6)]
        for _ in range(6):
            changed = np.frombuffer(whole, np.uint8).copy()
            changed[rng.integers(0, min(120, changed.size), 4)] = rng.integers(0, 256, 4)
            damaged.append(changed.tobytes())
        for content in damaged:
            (tmp_path / f"bad.{kind}").write_bytes(content)
            done = sanitized_build.run("segment_image", demo_bundle, tmp_path / f"bad.{kind}", tmp_path / "mask.png")
            assert done.returncode in (0, 2), done.stderr
            assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
