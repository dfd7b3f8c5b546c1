"""segdino.h for Python: a thin binding, so that tests can compare the C++ library with the package."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint8, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.cpp.capi_structs import (
    LOGITS,
    MASK,
    PROBABILITY,
    HeadInfo,
    HeadStruct,
    ImageStruct,
    Info,
    InfoStruct,
    OptionsStruct,
    TimingsStruct,
    UInt8,
    View,
    as_view,
)


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
