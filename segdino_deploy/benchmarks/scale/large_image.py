"""Time and memory of one image that is far larger than the model, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from segdino_deploy.benchmarks.scale.result import MIB, LargeImage
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.manifest import ModelCard
from segdino_deploy.tiles.options import TileOptions
from segdino_deploy.tiles.plan import make_plan


def measure_large_image(bundle: Path, card: ModelCard, photo: Path, side: int, directory: Path) -> LargeImage:
    """Segments a square TIFF of `side` pixels, made of copies of `photo`. SegdinoDeployError: predict has failed."""
    image = directory / "large.tif"
    write_large_tiff(photo, side, image)
    command = [sys.executable, "-m", "segdino_deploy.cli.app", "predict", str(bundle), str(image)]
    began = time.perf_counter()
    with subprocess.Popen([*command, "-o", str(directory / "masks"), "--mode", "tile"]) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SegdinoDeployError(f"predict --mode tile: ended with exit code {process.returncode}")
    tiles = make_plan((side, side), card, TileOptions()).grid.num_tiles
    return LargeImage(
        side=side, tiles=tiles, seconds=round(seconds, 1), peak_mib=round(usage.ru_maxrss * 1024 / MIB, 1)
    )


def write_large_tiff(photo: Path, side: int, path: Path) -> None:
    """Copies of `photo` beside and below each other, tiled and deflated: BigTIFF, `side` x `side` x 3."""
    import pyvips

    image = pyvips.Image.new_from_file(str(photo), access="random").colourspace("srgb")[0:3]
    image = image.replicate(-(-side // image.width), -(-side // image.height)).crop(0, 0, side, side)
    image.tiffsave(str(path), tile=True, compression="deflate", bigtiff=True)
