"""Images as training saw them, and masks as people look at them."""

from __future__ import annotations

import colorsys
import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from posixpath import splitext
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from segdino_deploy.atomic import write_atomically
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.progress import OnStep, ignore

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
ORIENTATION = 0x0112  # EXIF's tag
ON_THEIR_SIDE = range(5, 9)  # of its values: the rows are stored as columns

UInt8 = NDArray[np.uint8]


def list_images(path: Path) -> list[Path]:
    """The image files below a folder, sorted, sub-folders included; or the file itself.

    Raises InputError: no such path, or what `image_names` raises.
    """
    return [path / name for name in image_names(path)] if is_folder(path) else [path]


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and not a file. InputError where it is neither, or nobody may know."""
    with _permitted(path):
        if path.is_file():
            return False
        if path.is_dir():
            return True
    raise InputError(f"{path}: no such file or folder")


def image_names(folder: Path, leave_out: str = "", on_note: OnStep = ignore) -> list[str]:
    """The names of the image files below a folder, as `choose_images` takes and gives them, folder by folder.

    Links to folders are not followed. Raises InputError as it does, and where a folder may not be read.
    """
    return choose_images(_files_below(folder), folder, leave_out, on_note)


def choose_images(names: Iterable[str], place: object, leave_out: str = "", on_note: OnStep = ignore) -> list[str]:
    """Of the names of files below a folder, with `/`, those of images. `leave_out`: a sub-folder, of results perhaps.
    `on_note`: is told of videos beside them.

    Raises InputError for a folder that holds masks in a sub-folder, or no images.
    """
    found, videos = [], 0
    for name in names:
        if leave_out and name.startswith(f"{leave_out}/"):
            continue
        if is_image(name):
            found.append(name)
        else:
            videos += _is_video(name)
    folders = {part for name in found for part in name.split("/")[:-1]}
    of_masks = sorted(folder for folder in folders if _holds_masks(folder))
    if of_masks:
        raise InputError(f"{place}: holds masks in {', '.join(of_masks)}: name the folder of the images alone")
    if not found:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        beside = f", but {videos} video(s); predict takes videos one by one" if videos else ""
        raise InputError(f"{place}: holds no images ({kinds}){beside}")
    if videos:
        on_note(f"{place}: {videos} video(s) left out; name them one by one, in a run of their own")
    return found


def is_image(name: str) -> bool:
    """By its suffix. Hidden files are none."""
    return _has_suffix(name, IMAGE_SUFFIXES)


def _is_video(name: str) -> bool:
    from segdino_deploy.video.source import VIDEO_SUFFIXES  # which needs this module

    return _has_suffix(name, VIDEO_SUFFIXES)


def _has_suffix(name: str, suffixes: frozenset[str]) -> bool:
    file = name.rpartition("/")[2]
    return splitext(file)[1].lower() in suffixes and not file.startswith(".")


def _files_below(folder: Path | str, prefix: str = "") -> Iterator[str]:
    with _permitted(folder), os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        with _permitted(entry.path):
            is_folder = entry.is_dir(follow_symlinks=False)
            is_file = Path(entry.path).is_file() if entry.is_symlink() else entry.is_file()
        if is_folder:
            yield from _files_below(entry.path, f"{prefix}{entry.name}/")
        elif is_file:
            yield f"{prefix}{entry.name}"


@contextmanager
def _permitted(path: Path | str) -> Iterator[None]:
    """InputError for what may not be read or listed: it must not be passed over in silence."""
    try:
        yield
    except PermissionError as error:
        raise InputError(f"{Path(path)}: no permission to read it; allow that, or name what may be read") from error
    except OSError as error:
        raise InputError(f"{Path(path)}: cannot be read ({one_line(error)})") from error


def _holds_masks(folder: str) -> bool:
    return folder.lower() in MASK_FOLDERS or folder.lower().endswith(MASK_FOLDER_ENDS)


def read_rgb(path: Path) -> UInt8:
    """uint8 `[H, W, 3]` RGB, upright (EXIF orientation applied).

    Grey, palette and CMYK images are converted, alpha is dropped, as training does. 16-bit, 32-bit and float images are
    refused: how to window them to 8 bits is the user's decision. Raises InputError.
    """
    return decode_rgb(path, str(path))


def decode_rgb(
    file: Path | IO[bytes], name: str, *, formats: tuple[str, ...] | None = None, max_pixels: float | None = None
) -> UInt8:
    """As `read_rgb`, of a file that may be open. `formats`: Pillow's names of those that are read; None: all it has.

    Raises InputError whose line begins with `name`; its cause is a DecompressionBombError where the header tells of
    more than `max_pixels`, or of more than Pillow decodes: then nothing was decoded.
    """
    pillows_limit = 2 * (Image.MAX_IMAGE_PIXELS or math.inf)  # which it compares with the image alone
    limit = pillows_limit if max_pixels is None else max_pixels
    with _opened(file, name, formats) as image:
        width, height = _decoded_size(image)
        if width * height > limit:
            raise Image.DecompressionBombError(f"{width} x {height} pixels are to be decoded, {limit} at most")
        if image.mode not in EIGHT_BIT_MODES:
            raise InputError(
                f"{name}: {image.mode} pixels (more than 8 bits); convert to 8-bit as for training, then retry"
            )
        _load_upright(image)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _decoded_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the image, or of a TIFF's tile where that is larger: it is decoded whole."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    tile = (tags.get(TiffImagePlugin.TILEWIDTH, 0), tags.get(TiffImagePlugin.TILELENGTH, 0))
    return max(image.size, tile, key=math.prod)


def _load_upright(image: Image.Image) -> None:
    """Decodes and turns it in place, without a copy."""
    image.load()
    image.getexif()  # which the image keeps
    for written_anew in ("exif", "Raw profile type exif"):  # and Pillow fails where a tag has a type of its own
        image.info.pop(written_anew, None)
    ImageOps.exif_transpose(image, in_place=True)


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


def read_size(path: Path) -> tuple[int, int]:
    """Height and width, upright, of an image that is not decoded for it. Raises InputError."""
    with _opened(path, str(path)) as image:
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # whose size some versions of Pillow give upright
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        return (width, height) if image.getexif().get(ORIENTATION) in ON_THEIR_SIDE else (height, width)


def _open(path: Path) -> Image.Image:
    with _opened(path, str(path)) as image:
        _load_upright(image)
        return image.copy()


@contextmanager
def _opened(file: Path | IO[bytes], name: str, formats: tuple[str, ...] | None = None) -> Iterator[Image.Image]:
    """By Pillow, not decoded. What it raises, and what decoding raises, becomes InputError."""
    try:
        with Image.open(file, formats=formats) as image:
            # Pillow opens 16-bit colour in 8-bit modes and keeps the high byte: only the raw mode tells.
            if any(";16" in str(tile[3]) for tile in image.tile):
                raise InputError(f"{name}: 16-bit pixels; convert to 8-bit as for training, then retry")
            yield image
    except (SegdinoDeployError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except PermissionError as error:
        raise InputError(f"{name}: no permission to read it") from error
    except UnidentifiedImageError as error:
        kinds = f" ({', '.join(formats)})" if formats else ""
        raise InputError(f"{name}: not an image that can be read{kinds}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: too many pixels for one image; add --mode tile") from error
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise InputError(f"{name}: damaged image ({one_line(error)})") from error


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
