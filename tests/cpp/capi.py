"""segdino.h for Python: a thin binding, so that tests can compare the C++ library with the package."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_uint8, c_void_p, sizeof
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMATS = ("rgb", "bgr", "rgba", "bgra", "grey", "nv12")
CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "grey": 1, "nv12": 1}
MASK, PROBABILITY, LOGITS = range(3)

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


class NativeError(Exception):
    """A status other than SEGDINO_OK, with segdino_last_error()."""

    status = -1


class CheckFailed(NativeError):
    status = 1


class InputError(NativeError):
    status = 2


class MissingComponent(NativeError):
    status = 3


class EngineError(NativeError):
    status = 4


class OutOfMemory(NativeError):
    status = 5


class Unexpected(NativeError):
    status = 6


ERRORS = {error.status: error for error in NativeError.__subclasses__()}


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


class NativeLibrary:
    """libsegdino.so."""

    def __init__(self, path: Path) -> None:
        self.c = library = ctypes.CDLL(str(path))
        texts = ("version", "backends", "last_error", "last_error_expected", "last_error_got")
        for name in texts:
            getattr(library, f"segdino_{name}").restype = c_char_p
        library.segdino_close.restype = None
        signatures: dict[str, list[Any]] = {
            "segdino_open": [c_char_p, POINTER(OptionsStruct), POINTER(c_void_p)],
            "segdino_share": [c_void_p, POINTER(c_void_p)],
            "segdino_close": [c_void_p],
            "segdino_get_info": [c_void_p, POINTER(InfoStruct)],
            "segdino_get_head": [c_void_p, c_int, POINTER(HeadStruct)],
            "segdino_get_class_name": [c_void_p, c_int, c_int, POINTER(c_char_p)],
            "segdino_segment": [c_void_p, POINTER(ImageStruct), POINTER(c_uint8), c_size_t],
            "segdino_analyse": [c_void_p, POINTER(ImageStruct), c_size_t, c_int, c_int, c_int],
            "segdino_read": [c_void_p, c_size_t, c_int, c_int, c_void_p, c_size_t],
            "segdino_get_timings": [c_void_p, POINTER(TimingsStruct)],
        }
        for name, arguments in signatures.items():
            getattr(library, name).argtypes = arguments

    def version(self) -> str:
        return str(self.c.segdino_version().decode())

    def backends(self) -> list[str]:
        return [name for name in self.c.segdino_backends().decode().split(",") if name]

    def call(self, function: str, *arguments: Any) -> None:
        """Raises the child of NativeError that belongs to the status."""
        status = getattr(self.c, function)(*arguments)
        if status:
            error = ERRORS[status](self.c.segdino_last_error().decode())
            error.expected = self.c.segdino_last_error_expected().decode()
            error.got = self.c.segdino_last_error_got().decode()
            raise error

    def open(self, bundle: Path, **options: Any) -> NativeSegmenter:
        """`options`: those of segdino_options; paths and strings are encoded."""
        values = {name: str(v).encode() if isinstance(v, str | Path) else int(v) for name, v in options.items()}
        handle = c_void_p()
        given = byref(OptionsStruct(**values)) if options else None
        self.call("segdino_open", str(bundle).encode(), given, byref(handle))
        return NativeSegmenter(self, handle)


class NativeSegmenter:
    """A segdino_segmenter; close it, or use it as a context."""

    def __init__(self, library: NativeLibrary, handle: c_void_p) -> None:
        self.library = library
        self.handle = handle

    def __enter__(self) -> NativeSegmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.library.c.segdino_close(self.handle)
        self.handle = c_void_p()

    def share(self) -> NativeSegmenter:
        handle = c_void_p()
        self.library.call("segdino_share", self.handle, byref(handle))
        return NativeSegmenter(self.library, handle)

    @property
    def info(self) -> Info:
        info = InfoStruct()
        self.library.call("segdino_get_info", self.handle, byref(info))
        heads = tuple(self._head(index) for index in range(info.heads))
        words = [getattr(info, name).decode() for name in ("engine", "backend", "precision", "device")]
        return Info(*words, (info.input_height, info.input_width), info.min_batch, info.max_batch, heads)

    def _head(self, index: int) -> HeadInfo:
        head = HeadStruct()
        self.library.call("segdino_get_head", self.handle, index, byref(head))
        classes = []
        for number in range(head.num_classes):
            name = c_char_p()
            self.library.call("segdino_get_class_name", self.handle, index, number, byref(name))
            classes.append((name.value or b"").decode())
        return HeadInfo(
            head.name.decode(),
            head.family.decode(),
            head.num_classes,
            tuple(classes),
            head.threshold,
            bool(head.has_probability),
            bool(head.has_logits),
        )

    def segment(self, image: UInt8 | View) -> UInt8:
        """The first head's mask, uint8 `[H, W]`."""
        view = as_view(image)
        mask = np.empty(view.result_hw, np.uint8)
        data = mask.ctypes.data_as(POINTER(c_uint8))
        self.library.call("segdino_segment", self.handle, byref(view.to_struct()), data, mask.nbytes)
        return mask

    def analyse(
        self,
        images: Sequence[UInt8 | View],
        of_model_size: bool = False,
        probability: bool = False,
        logits: bool = False,
    ) -> list[dict[str, dict[str, Any]]]:
        """By image and head: `mask` uint8 `[H, W]`, and what was asked for, float32 `[C, H, W]`."""
        views = [as_view(image) for image in images]
        structs = (ImageStruct * len(views))(*[view.to_struct() for view in views])
        self.library.call(
            "segdino_analyse", self.handle, structs, len(views), int(of_model_size), int(probability), int(logits)
        )
        info = self.info
        kinds = [("mask", MASK), *[("probability", PROBABILITY)] * probability, *[("logits", LOGITS)] * logits]
        results = []
        for number, view in enumerate(views):
            size_hw = info.input_hw if of_model_size else view.result_hw
            heads = {}
            for index, head in enumerate(info.heads):
                shapes = {
                    MASK: size_hw,
                    PROBABILITY: (head.num_classes, *size_hw),
                    LOGITS: (head.num_classes, *size_hw),
                }
                heads[head.name] = {
                    name: self.read(number, index, kind, shapes[kind], np.uint8 if kind == MASK else np.float32)
                    for name, kind in kinds
                }
            results.append(heads)
        return results

    def read(self, image: int, head: int, output: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        values = np.empty(shape, dtype)
        self.library.call("segdino_read", self.handle, image, head, output, values.ctypes.data, values.nbytes)
        return values

    @property
    def timings(self) -> dict[str, float]:
        timings = TimingsStruct()
        self.library.call("segdino_get_timings", self.handle, byref(timings))
        return {name: getattr(timings, name) for name, _ in TimingsStruct._fields_[1:]}
