"""Pictures of one image's masks, and of where they differ."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.images import overlay, palette, write_png

UInt8 = NDArray[np.uint8]

# Orange and blue: told apart by people who do not see red and green, and by brightness alone. A pixel, then its rims.
ADDED = ((255, 200, 40), (235, 105, 0), (255, 255, 255))
LOST = ((150, 215, 255), (0, 80, 215), (0, 0, 0))
CHANGED = ((0, 0, 0), (255, 255, 255), (0, 0, 0))  # of several classes; black: the background, the others by class
GREY_RANGE = (56, 176)  # of the greyed image: black and white rims both stand out from it
RIM_AT = 256  # pixels of the shorter side for each pixel of a rim's width
FOLDER = "images"
LONGEST_STEM = 60


@dataclass(frozen=True)
class CasePictures:
    """Paths relative to the report's folder, with slashes."""

    reference: str
    engine: str
    truth: str | None
    disagreement: str


def legend(num_classes: int) -> str:
    """What the marks of `draw_disagreement` mean, in two sentences."""
    rims = "The rims only make single pixels visible: those that differ lie inside."
    if num_classes == 1:
        return (
            "Orange with a white rim: the engine adds the pixel to the reference's mask; blue with a black rim: it "
            f"loses it. {rims}"
        )
    return (
        "Inside a white and a black rim: pixels that the engine gives another class than the reference, in the "
        f"colour of the engine's class, black for the background. {rims}"
    )


def draw_disagreement(image: UInt8, reference: UInt8, engine: UInt8, num_classes: int) -> UInt8:
    """The image in grey, `[H, W, 3]`, with every pixel marked whose class differs; see `legend`.

    `image` `[H, W, 3]`; masks `[H, W]` hold class indices, 0 and 1 for one class. Two rims, one or more pixels wide by
    the image's size, lie around the marked pixels and never on them.
    """
    out = _greyed(image)
    differs = reference != engine
    added = differs & (engine != 0)
    marks = [(differs & ~added, LOST), (added, ADDED)] if num_classes == 1 else [(differs, CHANGED)]
    width = max(1, round(min(differs.shape) / RIM_AT))
    for growth, part in ((2 * width, 2), (width, 1), (0, 0)):  # from the outer rim to the pixels themselves
        for region, colours in marks:
            out[_grown(region, growth)] = colours[part]
    if num_classes > 1:
        out[added] = palette(num_classes)[engine[added] - 1]
    return out


def write_pictures(
    directory: Path,
    engine_name: str,
    number: int,
    image_name: str,
    image: UInt8,
    reference: UInt8,
    engine: UInt8,
    truth: UInt8 | None,
    num_classes: int,
) -> CasePictures:
    """Writes `images/<engine>/<number>-<stem>-<kind>.png` below the report's folder `directory`.

    `image` `[H, W, 3]` and masks `[H, W]` at the model's size. Names keep ASCII letters, digits, `.`, `-` and `_`.
    """
    stem = f"{number}-{safe_name(PurePosixPath(image_name).with_suffix('').as_posix())}"

    def write(kind: str, picture: UInt8) -> str:
        path = f"{FOLDER}/{safe_name(engine_name)}/{stem}-{kind}.png"
        write_png(directory / path, picture)
        return path

    return CasePictures(
        write("reference", overlay(image, reference)),
        write("engine", overlay(image, engine)),
        None if truth is None else write("truth", overlay(image, truth)),
        write("disagreement", draw_disagreement(image, reference, engine, num_classes)),
    )


def safe_name(text: str) -> str:
    """A part of a file name that every file system and URL takes as it is; folders are joined with `_`.

    Different texts may become the same name. Of a long one the end is kept, which tells more.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", ascii_text)[-LONGEST_STEM:].strip("._-")
    return safe or "image"


def _greyed(image: UInt8) -> UInt8:
    """Luminance (ITU-R BT.601), in the middle of the scale."""
    luminance = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    low, high = GREY_RANGE
    return np.repeat(np.rint(low + (high - low) * luminance)[..., None], 3, axis=2).astype(np.uint8)


def _grown(region: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    import cv2

    square = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.asarray(cv2.dilate(region.astype(np.uint8), square) > 0)
