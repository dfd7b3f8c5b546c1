"""The structures of segdino.h, what they say as Python's values, and images as cameras give them."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_double, c_int, c_size_t, c_void_p, sizeof
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMATS = ("rgb", "bgr", "rgba", "bgra", "grey", "nv12")
CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "grey": 1, "nv12": 1}
MASK, PROBABILITY, LOGITS = range(3)
UInt8 = NDArray[np.uint8]


class Sized(ctypes.Structure):
    """A structure that begins with its own size."""

    def __init__(self, **values: Any) -> None:
        super().__init__(struct_size=sizeof(type(self)), **values)


class OptionsStruct(Sized):
    _fields_ = (
        ("struct_size", c_size_t),
        ("engine", c_char_p),
        ("backend", c_char_p),
        ("precision", c_char_p),
        ("threads", c_int),
        ("check_canary", c_int),
        ("check_only_engine_files", c_int),
        ("cache", c_char_p),
    )


class ImageStruct(Sized):
    _fields_ = (
        ("struct_size", c_size_t),
        ("data", c_void_p),
        ("width", c_int),
        ("height", c_int),
        ("stride", c_size_t),
        ("format", c_int),
        ("chroma", c_void_p),
        ("chroma_stride", c_size_t),
        ("has_region", c_int),
        ("region_x", c_int),
        ("region_y", c_int),
        ("region_width", c_int),
        ("region_height", c_int),
    )


class TimingsStruct(Sized):
    _fields_ = (
        ("struct_size", c_size_t),
        ("prepare_ms", c_double),
        ("run_ms", c_double),
        ("engine_ms", c_double),
        ("finish_ms", c_double),
    )


class InfoStruct(Sized):
    _fields_ = (
        ("struct_size", c_size_t),
        ("engine", c_char_p),
        ("backend", c_char_p),
        ("precision", c_char_p),
        ("device", c_char_p),
        ("input_width", c_int),
        ("input_height", c_int),
        ("min_batch", c_int),
        ("max_batch", c_int),
        ("heads", c_int),
    )


class HeadStruct(Sized):
    _fields_ = (
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("family", c_char_p),
        ("num_classes", c_int),
        ("threshold", c_double),
        ("has_probability", c_int),
        ("has_logits", c_int),
    )


@dataclass(frozen=True)
class HeadInfo:
    name: str
    family: str
    num_classes: int
    class_names: tuple[str, ...]
    threshold: float
    has_probability: bool
    has_logits: bool


@dataclass(frozen=True)
class Info:
    engine: str
    backend: str
    precision: str
    device: str
    input_hw: tuple[int, int]
    min_batch: int
    max_batch: int
    heads: tuple[HeadInfo, ...]


@dataclass(frozen=True)
class View:
    """An image as a camera gives it. `pixels`: uint8 `[H, W, channels]`, its rows in a longer buffer or not.

    nv12: `[H, W]`, with `chroma` `[H / 2, W]`, or `[H * 3 / 2, W]` in one piece. `region`: x, y, width, height.
    """

    pixels: UInt8
    format: str = "rgb"
    chroma: UInt8 | None = None
    region: tuple[int, int, int, int] | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the whole image."""
        height, width = self.pixels.shape[:2]
        return (height * 2 // 3 if self.format == "nv12" and self.chroma is None else height, width)

    @property
    def result_hw(self) -> tuple[int, int]:
        return self.size_hw if self.region is None else (self.region[3], self.region[2])

    def to_struct(self) -> ImageStruct:
        inner = self.pixels.strides[1:]
        assert inner == ((CHANNELS[self.format], 1) if self.pixels.ndim == 3 else (1,)), "pixels in a row are dense"
        height, width = self.size_hw
        struct = ImageStruct(
            data=self.pixels.ctypes.data,
            width=width,
            height=height,
            stride=self.pixels.strides[0],
            format=FORMATS.index(self.format),
        )
        if self.chroma is not None:
            struct.chroma, struct.chroma_stride = self.chroma.ctypes.data, self.chroma.strides[0]
        if self.region is not None:
            struct.has_region = 1
            struct.region_x, struct.region_y, struct.region_width, struct.region_height = self.region
        return struct


def as_view(image: UInt8 | View) -> View:
    return image if isinstance(image, View) else View(np.ascontiguousarray(image))
