"""Pointers and structures of the C API: null is named, and programs of other versions go on working."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_uint8, c_void_p, sizeof
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdino_deploy import __version__
from tests.cpp.c_api_helpers import IMAGE, SIZE, message
from tests.cpp.capi import InputError, NativeLibrary, NativeSegmenter
from tests.cpp.capi_structs import MASK, HeadStruct, ImageStruct, InfoStruct, OptionsStruct, TimingsStruct, View


def test_the_library_says_what_it_is(library: NativeLibrary) -> None:
    assert library.version() == __version__
    assert library.c.segdino_backends() == b"openvino"


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        ("segdino_open", (None, None, byref(c_void_p())), "bundle is null"),
        ("segdino_open", (b"x", None, None), "opened is null"),
        ("segdino_share", (None, byref(c_void_p())), "segmenter is null"),
        ("segdino_get_info", (None, byref(InfoStruct())), "segmenter is null"),
        ("segdino_get_head", (None, 0, byref(HeadStruct())), "segmenter is null"),
        ("segdino_segment", (None, byref(ImageStruct()), None, 0), "segmenter is null"),
        ("segdino_analyse", (None, None, 0, 0, 0, 0), "segmenter is null"),
        ("segdino_read", (None, 0, 0, MASK, None, 0), "segmenter is null"),
        ("segdino_get_timings", (None, byref(TimingsStruct())), "segmenter is null"),
    ],
)
def test_null_pointers_are_named(function: str, arguments: tuple[Any, ...], named: str, library: NativeLibrary) -> None:
    with pytest.raises(InputError) as error:
        library.call(function, *arguments)

    assert message(error).startswith(named)


def test_closing_null_is_allowed(library: NativeLibrary) -> None:
    library.c.segdino_close(None)


@pytest.mark.parametrize("size", [0, 1, 7, 1 << 40])
def test_a_structure_without_its_size_is_refused(size: int, segmenter: NativeSegmenter, demo_bundle: Path) -> None:
    library, mask = segmenter.library, (c_uint8 * SIZE)()
    image, info, options = View(IMAGE).to_struct(), InfoStruct(), OptionsStruct()
    image.struct_size = info.struct_size = options.struct_size = size
    opened = c_void_p(1)

    for function, arguments in (
        ("segdino_segment", (segmenter.handle, byref(image), mask, SIZE)),
        ("segdino_analyse", (segmenter.handle, byref(image), 1, 0, 0, 0)),
        ("segdino_get_info", (segmenter.handle, byref(info))),
        ("segdino_open", (str(demo_bundle).encode(), byref(options), byref(opened))),
    ):
        with pytest.raises(InputError) as error:
            library.call(function, *arguments)
        assert "set it to sizeof" in message(error)
    assert opened.value is None, "where opening fails, the handle is null"


def test_structures_of_an_older_program_go_on_working(segmenter: NativeSegmenter) -> None:
    """It knew the first members only: nothing behind them is read or written."""
    known = ImageStruct.stride.offset
    memory = (ctypes.c_char * sizeof(ImageStruct))(*([b"\xff"] * sizeof(ImageStruct)))
    image = View(IMAGE).to_struct()
    image.struct_size = known
    ctypes.memmove(memory, byref(image), known)
    mask = np.empty(IMAGE.shape[:2], np.uint8)
    segmenter.library.call(
        "segdino_segment",
        segmenter.handle,
        ctypes.cast(memory, POINTER(ImageStruct)),
        mask.ctypes.data_as(POINTER(c_uint8)),
        mask.nbytes,
    )
    np.testing.assert_array_equal(mask, segmenter.segment(IMAGE))

    timings = TimingsStruct(engine_ms=-1.0, finish_ms=-1.0)
    timings.struct_size = TimingsStruct.engine_ms.offset
    segmenter.library.call("segdino_get_timings", segmenter.handle, byref(timings))
    assert timings.run_ms > 0
    assert (timings.engine_ms, timings.finish_ms) == (-1, -1)


def test_structures_of_a_newer_program_go_on_working(segmenter: NativeSegmenter) -> None:
    class Newer(ctypes.Structure):
        _fields_ = (("known", InfoStruct), ("added", ctypes.c_int * 4))

    info = Newer(known=InfoStruct())
    info.known.struct_size = sizeof(Newer)
    segmenter.library.call("segdino_get_info", segmenter.handle, ctypes.cast(byref(info), POINTER(InfoStruct)))

    assert info.known.backend == b"openvino"
