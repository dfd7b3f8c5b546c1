"""Images as training saw them, and masks as people look at them."""

from __future__ import annotations

import colorsys
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from segdino_deploy.atomic import write_atomically
from segdino_deploy.errors import InputError, one_line

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
# Folders that hold masks, not images, in the data sets people use; in small letters.
MASK_FOLDERS = frozenset(
    {"mask", "masks", "label", "labels", "gt", "annotation", "annotations"}
    | {"ground truth", "segmentationclass", "segmentationclasspng"}
)
MASK_FOLDER_ENDS = ("-mask", "_groundtruth")
RESIZE_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
# Modes whose conversion to 8-bit RGB is what training's own conversion does.
EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "La", "RGBa"})

UInt8 = NDArray[np.uint8]


def list_images(path: Path) -> list[Path]:
    """The image files below a folder, sorted, sub-folders included; or the file itself.

    Raises InputError: no such path, or a folder without images.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    found = sorted(
        entry
        for entry in path.rglob("*")
        if entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".")
    )
    folders = {part for entry in found for part in entry.relative_to(path).parts[:-1]}
    of_masks = sorted(folder for folder in folders if _holds_masks(folder))
    if of_masks:
        raise InputError(f"{path}: holds masks in {', '.join(of_masks)}: name the folder of the images alone")
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"{path}: holds no images ({kinds})")
    return found


def _holds_masks(folder: str) -> bool:
    return folder.lower() in MASK_FOLDERS or folder.lower().endswith(MASK_FOLDER_ENDS)


def read_rgb(path: Path) -> UInt8:
    """uint8 `[H, W, 3]` RGB, upright (EXIF orientation applied).

    Grey, palette and CMYK images are converted, alpha is dropped, as training does. 16-bit, 32-bit and float images are
    refused: how to window them to 8 bits is the user's decision. Raises InputError.
    """
    image = _open(path)
    if image.mode not in EIGHT_BIT_MODES:
        raise InputError(
            f"{path}: {image.mode} pixels (more than 8 bits); convert to 8-bit as for training, then retry"
        )
    return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> UInt8:
    """uint8 `[H, W]` as stored: grey value or palette index; of a colour image its luminance. Raises InputError."""
    image = _open(path)
    if image.mode == "1":
        return np.asarray(image, dtype=np.uint8) * 255
    if image.mode in ("L", "P"):
        return np.asarray(image)
    if image.mode not in EIGHT_BIT_MODES:
        raise InputError(f"{path}: {image.mode} pixels; a mask must be an 8-bit image")
    return np.asarray(image.convert("L"))


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            # Pillow opens 16-bit colour in 8-bit modes and keeps the high byte: only the raw mode tells.
            if any(";16" in str(tile[3]) for tile in image.tile):
                raise InputError(f"{path}: 16-bit pixels; convert to 8-bit as for training, then retry")
            image.load()
            return ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too many pixels for one image; cut it into tiles") from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        raise InputError(f"{path}: damaged image ({one_line(error)})") from error


def resize_rgb(image: UInt8, size_hw: tuple[int, int], resize_filter: str) -> UInt8:
    """`[H, W, 3]` to `[h, w, 3]` with Pillow's antialiased filter, aspect ratio not kept: as training does."""
    resized = Image.fromarray(image).resize((size_hw[1], size_hw[0]), RESIZE_FILTERS[resize_filter])
    return np.asarray(resized)


def resize_mask(mask: UInt8, size_hw: tuple[int, int]) -> UInt8:
    """uint8 `[H, W]` to `[h, w]` with nearest neighbour."""
    return np.asarray(Image.fromarray(mask).resize((size_hw[1], size_hw[0]), Image.Resampling.NEAREST))


def mask_to_png_values(mask: UInt8, num_classes: int) -> UInt8:
    """Class indices as they are; the 0/1 mask of one class as 0/255."""
    return mask * 255 if num_classes == 1 else mask


def palette(num_colours: int) -> UInt8:
    """Distinct colours, uint8 `[num_colours, 3]`: hues a golden angle apart, starting at orange."""
    hues = [(0.08 + index * 0.618034) % 1.0 for index in range(num_colours)]
    return np.array([[round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.85, 1.0)] for hue in hues], dtype=np.uint8)


def overlay(image: UInt8, mask: UInt8, opacity: float = 0.45) -> UInt8:
    """`[H, W, 3]` with the classes of `mask` (`[H, W]`, 0 is background) tinted and outlined in their colours."""
    import cv2

    out = image.astype(np.float32)
    classes = [int(value) for value in np.unique(mask) if value]
    colours = palette(max(classes, default=0)).astype(np.float32)
    for value in classes:
        region = mask == value
        out[region] = (1 - opacity) * out[region] + opacity * colours[value - 1]
        inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
        out[region & (inner == 0)] = colours[value - 1]
    return np.rint(out).astype(np.uint8)


def contact_sheet(tiles: Sequence[UInt8], columns: int, gap: int = 4) -> UInt8:
    """Tiles of one size `[H, W, 3]`, row by row on a black sheet."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def write_png(path: Path, image: UInt8) -> None:
    """uint8 `[H, W]` or `[H, W, 3]`, written whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())
