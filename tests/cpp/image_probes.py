"""cpp/tests/probe_image.cpp for Python: views of images in all pixel formats, and resizing."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_int, c_int32, c_size_t, c_uint8, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FORMATS = ("rgb", "bgr", "rgba", "bgra", "grey", "nv12")
BYTES = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "grey": 1, "nv12": 1}
LANES = 32  # bytes that a kernel works on side by side

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Box = tuple[int, int, int, int]  # x, y, width, height


class View(ctypes.Structure):
    """segdino::ImageView. Where it views an array, it keeps the array alive."""

    _fields_ = (
        ("data", c_void_p),
        ("width", c_int),
        ("height", c_int),
        ("stride", c_size_t),
        ("format", c_int),
        ("chroma", c_void_p),
        ("chroma_stride", c_size_t),
        ("has_region", c_int),
        ("region", c_int * 4),
    )

    def __init__(self, data: UInt8 | int, width: int, height: int, format: str | int = "rgb", **values: Any) -> None:
        self.kept = data
        region: Box | None = values.pop("region", None)
        super().__init__(
            data=data if isinstance(data, int) else data.ctypes.data,
            width=width,
            height=height,
            format=format if isinstance(format, int) else FORMATS.index(format),
            has_region=region is not None,
            region=(c_int * 4)(*(region or ())),
            **values,
        )


class Refused(Exception):
    """InputError: its message, and what was expected and got."""

    def __init__(self, message: str, expected: str, got: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.got = got


@dataclass(frozen=True)
class Checked:
    """What a view was completed to."""

    chroma_offset: int
    stride: int
    chroma_stride: int
    region: Box


class ImageProbes:
    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        for name in ("probe_error", "probe_view_expected", "probe_view_got"):
            getattr(self._library, name).restype = ctypes.c_char_p
        self._library.probe_blend.argtypes = (c_int, c_void_p, c_size_t, POINTER(c_int32), c_int, c_void_p)
        self._library.probe_nv12_to_planes.argtypes = (c_int, c_void_p, c_void_p, c_size_t, c_void_p)
        self.variants = int(self._library.probe_kernel_variants())

    def check_view(self, view: View) -> Checked:
        sizes, region = (c_size_t * 3)(), (c_int * 4)()
        self._call("probe_check_view", byref(view), sizes, region)
        return Checked(sizes[0], sizes[1], sizes[2], (region[0], region[1], region[2], region[3]))

    def read_rows(self, view: View) -> UInt8:
        """`[H, W, 3]`."""
        width, height = size_of(view)
        return self._filled("probe_read_rows", byref(view), shape=(height, width, 3))

    def resize_rgb(self, view: View, width: int, height: int, resize_filter: str) -> UInt8:
        """`[height, width, 3]`."""
        is_bilinear = resize_filter == "bilinear"
        return self._filled("probe_resize_rgb", byref(view), width, height, is_bilinear, shape=(height, width, 3))

    def resize_mask(self, mask: UInt8, width: int, height: int) -> UInt8:
        return self._filled("probe_resize_mask", *_array(mask), width, height, shape=(height, width))

    def resize_plane(self, plane: Float, width: int, height: int) -> Float:
        return self._filled("probe_resize_plane", *_array(plane), width, height, shape=(height, width), dtype="float32")

    def blend(self, variant: int, values: UInt8, weights: list[int]) -> UInt8:
        """`[taps, 32]` to `[32]`."""
        out = np.empty(LANES, np.uint8)
        fixed = (c_int32 * len(weights))(*weights)
        self._library.probe_blend(
            variant, values.ctypes.data, values.strides[0], fixed, len(weights), c_void_p(out.ctypes.data)
        )
        return out

    def nv12_to_planes(self, variant: int, luma: UInt8, chroma: UInt8) -> UInt8:
        """Two times `[n * 32]` to `[3, n * 32]`."""
        out = np.empty((3, luma.size), np.uint8)
        self._library.probe_nv12_to_planes(
            variant, luma.ctypes.data, chroma.ctypes.data, luma.size // LANES, out.ctypes.data
        )
        return out

    def _filled(self, name: str, *arguments: Any, shape: tuple[int, ...], dtype: str = "uint8") -> Any:
        """An array that was exactly filled: the bytes behind it are as they were."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = np.full(size + LANES, 0xA5, np.uint8)
        self._call(name, *arguments, memory.ctypes.data_as(POINTER(c_uint8)))
        assert (memory[size:] == 0xA5).all(), f"{name} wrote behind its output"
        return memory[:size].view(dtype).reshape(shape)

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            texts = (self._library.probe_error(), self._library.probe_view_expected(), self._library.probe_view_got())
            raise Refused(*(text.decode() for text in texts))


def _array(values: NDArray[Any]) -> tuple[c_void_p, int, int]:
    assert values.flags.c_contiguous
    return c_void_p(values.ctypes.data), values.shape[1], values.shape[0]


def size_of(view: View) -> tuple[int, int]:
    """Width and height of what is read."""
    return (view.region[2], view.region[3]) if view.has_region else (view.width, view.height)


@dataclass(frozen=True)
class Picture:
    """Random pixels in one of the formats, and what they are as RGB for Pillow and OpenCV."""

    view: View
    rgb: UInt8  # of the region


def picture(
    rng: np.random.Generator,
    pixel_format: str,
    width: int,
    height: int,
    gap: int = 0,
    region: Box | None = None,
    separate_chroma: bool = False,
) -> Picture:
    """`gap`: bytes behind every row."""
    row = width * BYTES[pixel_format]
    chroma_rows = height // 2 if pixel_format == "nv12" else 0
    # The last row has no gap behind it, so that the memory ends where the pixels do.
    memory = rng.integers(0, 256, (height + chroma_rows) * (row + gap) - gap, dtype=np.uint8)
    rows = np.lib.stride_tricks.as_strided(memory, (height + chroma_rows, row), (row + gap, 1))
    if pixel_format == "nv12":
        rgb = cv2.cvtColor(np.ascontiguousarray(rows), cv2.COLOR_YUV2RGB_NV12)
    elif pixel_format == "grey":
        rgb = np.repeat(rows[:, :, None], 3, axis=2)
    else:
        order = [pixel_format.index(channel) for channel in "rgb"]
        rgb = rows.reshape(height, width, -1)[:, :, order]
    values: dict[str, Any] = {"stride": row + gap if gap else 0, "region": region}
    if separate_chroma:
        # In other memory, with a stride of its own.
        stride = row + 7
        plane = np.zeros(chroma_rows * stride, np.uint8)
        np.lib.stride_tricks.as_strided(plane, (chroma_rows, row), (stride, 1))[:] = rows[height:]
        values |= {"chroma": plane.ctypes.data, "chroma_stride": stride}
    view = View(memory, width, height, pixel_format, **values)
    if separate_chroma:
        view.kept_chroma = plane
    x, y, region_width, region_height = region or (0, 0, width, height)
    return Picture(view, np.ascontiguousarray(rgb[y : y + region_height, x : x + region_width]))


def random_region(rng: np.random.Generator, width: int, height: int) -> Box:
    x, y = int(rng.integers(width)), int(rng.integers(height))
    return x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
