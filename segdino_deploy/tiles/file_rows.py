"""Image files read row by row with libvips, which decodes TIFF, BigTIFF, PNG and JPEG piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segdino_deploy.atomic import is_no_space
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.images import ON_THEIR_SIDE, read_rgb, read_size
from segdino_deploy.requirements import require_module
from segdino_deploy.tiles.rows import ArrayRows, RowSource, UInt8

TIFF_LOADER = "tiffload_source"
STREAMED_LOADERS = (TIFF_LOADER, "pngload_source", "jpegload_source")
COLOURS = ("b-w", "srgb", "rgb", "cmyk", "multiband")  # libvips' names of what has 8-bit RGB as Pillow makes it
TURNED = range(3, 9)  # EXIF orientations whose first row is not the first that is stored


def open_rows(path: Path) -> RowSource:
    """The image's rows, upright and converted to RGB as `images.read_rgb` does it.

    What can only be decoded whole (progressive JPEG, interlaced PNG, other formats) is, up to the size that Pillow
    accepts. A large image stored turned (EXIF) is unpacked into a temporary file by libvips.
    Raises InputError as `read_rgb` does, MissingComponent without pyvips.
    """
    vips: Any = require_module("pyvips", "tiles of image files", extra="large")
    try:
        image = _load(vips, path, access="sequential", fail_on="error")
    except vips.Error as error:  # nothing that libvips knows; Pillow may, or says what is wrong
        return WholeRows(path, _size_of_pillow(path, _reason(error)))
    loader = str(image.get("vips-loader"))
    is_interlaced = bool(image.get_typeof("interlaced")) and image.get("interlaced") != 0
    is_foreign = loader == TIFF_LOADER and _has_ycbcr_pixels(path)
    if loader not in STREAMED_LOADERS or is_interlaced or is_foreign:
        return WholeRows(path, _upright_size(image))
    return VipsRows(vips, path, image, is_tiff=loader == TIFF_LOADER)


class WholeRows(RowSource):
    """Decoded by Pillow with the first rows, and let go of with the last: until then only the size is known."""

    def __init__(self, path: Path, size_hw: tuple[int, int]) -> None:
        _require_small(path, size_hw)
        self.size_hw = size_hw
        self._path = path
        self._rows: ArrayRows | None = None
        self._rows_left = size_hw[0]

    def read(self, count: int) -> UInt8:
        if self._rows is None:
            self._rows = self._decode()
        rows = self._rows.read(count)
        self._rows_left -= len(rows)
        if not self._rows_left:
            self._rows = None
        return rows

    def _decode(self) -> ArrayRows:
        rows = ArrayRows(read_rgb(self._path))
        if rows.size_hw != self.size_hw:  # exchanged meanwhile, or a header that says something else
            found, expected = (f"{height}x{width}" for height, width in (rows.size_hw, self.size_hw))
            raise InputError(f"{self._path}: is {found} pixels, not {expected} as before; run again")
        return rows


class VipsRows(RowSource):
    def __init__(self, vips: Any, path: Path, header: Any, is_tiff: bool) -> None:
        self._path = path
        self._vips = vips
        access = "random" if _orientation(header) in TURNED else "sequential"
        # Of TIFF files libvips counts missing tiles as a warning; a JPEG's warnings are what every decoder forgives.
        image = _load(vips, path, access=access, fail_on="warning" if is_tiff else "error").autorot()
        _check_pixels(path, image)
        self.size_hw = (image.height, image.width)
        self._bands = int(image.bands)
        self._is_cmyk = image.interpretation == "cmyk"
        self._region = vips.Region.new(image)
        self._top = 0

    def read(self, count: int) -> UInt8:
        width = self.size_hw[1]
        try:
            pixels = self._region.fetch(0, self._top, width, count)
        except self._vips.Error as error:
            if is_no_space(error):
                raise SegdinoDeployError(
                    f"no space left to unpack {self._path}, which is stored turned: free some, or set TMPDIR"
                ) from error
            raise InputError(f"{self._path}: damaged image ({_reason(error)})") from error
        self._top += count
        rows = np.frombuffer(pixels, np.uint8).reshape(count, width, self._bands)
        return _to_rgb(rows, self._is_cmyk)


def _load(vips: Any, path: Path, **options: str) -> Any:
    """The image of a file, not decoded yet. Python opens it, so that its name and its errors are Python's."""
    try:
        with path.open("rb") as file:
            source = vips.Source.new_from_descriptor(file.fileno())  # which keeps a descriptor of its own
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)})") from error
    return vips.Image.new_from_source(source, "", **options)


def _orientation(image: Any) -> int:
    """EXIF's, 1 to 8."""
    return int(image.get("orientation")) if image.get_typeof("orientation") else 1


def _upright_size(image: Any) -> tuple[int, int]:
    height, width = int(image.height), int(image.width)
    return (width, height) if _orientation(image) in ON_THEIR_SIDE else (height, width)


def _check_pixels(path: Path, image: Any) -> None:
    """InputError for what is not 8 bits, or has no RGB."""
    if image.format != "uchar":
        bits = {"ushort": "16-bit", "short": "16-bit"}.get(image.format, str(image.format))
        raise InputError(f"{path}: {bits} pixels; convert to 8-bit as for training, then retry")
    bands = int(image.bands)
    is_known = bands == 4 if image.interpretation == "cmyk" else bands <= 4
    if image.interpretation not in COLOURS or not is_known:
        raise InputError(
            f"{path}: {bands} channels of {image.interpretation}; convert to 8-bit RGB as for training, then retry"
        )


def _to_rgb(rows: UInt8, is_cmyk: bool) -> UInt8:
    """`[n, W, B]` to `[n, W, 3]`: grey is repeated, alpha is dropped, CMYK is converted by Pillow, as in training."""
    if is_cmyk:
        size = (rows.shape[1], rows.shape[0])
        return np.asarray(Image.frombuffer("CMYK", size, rows).convert("RGB"))
    if rows.shape[2] < 3:
        return np.repeat(rows[..., :1], 3, axis=2)
    return rows[..., :3]


def _has_ycbcr_pixels(path: Path) -> bool:
    """Whether a TIFF holds YCbCr that its compression knows nothing of: libvips takes such for RGB."""
    tifffile: Any = require_module("tifffile", "tiles of image files", extra="large")
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            is_jpeg = "JPEG" in page.compression.name or "JP2000" in page.compression.name
            return page.photometric == tifffile.PHOTOMETRIC.YCBCR and not is_jpeg
    except (tifffile.TiffFileError, AttributeError, ValueError):
        return False  # an unusual or a damaged file: libvips says more of it


def _size_of_pillow(path: Path, why_not_streamed: str) -> tuple[int, int]:
    try:
        return read_size(path)
    except InputError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise InputError(
                f"{path}: too many pixels to be decoded whole, and libvips cannot read it in pieces "
                f"({why_not_streamed}); save it as a tiled TIFF"
            ) from error
        raise


def _require_small(path: Path, size_hw: tuple[int, int]) -> None:
    """InputError above the size up to which Pillow decodes an image whole."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size_hw[0] * size_hw[1] > 2 * limit:
        raise InputError(
            f"{path}: {size_hw[0]}x{size_hw[1]} pixels that can only be decoded whole (interlaced PNG, progressive "
            "JPEG and others), which takes too much memory; save it as a tiled TIFF"
        )


def _reason(error: Exception) -> str:
    """The last thing that libvips says, which is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(Exception(lines[-1] if lines else type(error).__name__))
