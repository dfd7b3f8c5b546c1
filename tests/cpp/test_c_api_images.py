"""Wrong calls with images, memory, heads and classes: refused in one line, and the segmenter goes on."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_uint8
from typing import Any

import numpy as np
import pytest

from tests.cpp.c_api_helpers import IMAGE, SIZE, message
from tests.cpp.capi import InputError, NativeSegmenter
from tests.cpp.capi_structs import MASK, PROBABILITY, HeadStruct, ImageStruct, View


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data": None}, "null"),
        ({"width": 0}, "the size is 0x256"),
        ({"height": -3}, "256x-3"),
        ({"width": 65536}, "65536x256"),
        ({"stride": 5}, "stride"),
        ({"format": 6}, "format"),
        ({"format": -1}, "format"),
        ({"has_region": 1}, "region"),
        ({"has_region": 1, "region_x": 250, "region_width": 7, "region_height": 1}, "region"),
        ({"has_region": 1, "region_x": 2**31 - 1, "region_width": 2**31 - 1, "region_height": 1}, "region"),
        ({"format": 5, "width": 255}, "nv12"),
    ],
)
def test_unusable_images_are_refused_and_the_segmenter_goes_on(
    changes: dict[str, Any], named: str, segmenter: NativeSegmenter
) -> None:
    image = View(IMAGE).to_struct()
    for name, value in changes.items():
        setattr(image, name, value)

    with pytest.raises(InputError) as error:
        segmenter.library.call("segdino_segment", segmenter.handle, byref(image), (c_uint8 * SIZE)(), SIZE)

    assert named in message(error).lower()
    assert segmenter.segment(IMAGE).shape == IMAGE.shape[:2]


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
def test_memory_of_another_size_is_refused_untouched(size: int, segmenter: NativeSegmenter) -> None:
    mask = (c_uint8 * (SIZE + 1))(*([9] * (SIZE + 1)))

    with pytest.raises(InputError) as error:
        segmenter.library.call("segdino_segment", segmenter.handle, byref(View(IMAGE).to_struct()), mask, size)

    assert str(SIZE) in message(error)
    assert bytes(mask) == b"\x09" * (SIZE + 1)


def test_only_what_was_asked_for_can_be_read(segmenter: NativeSegmenter) -> None:
    with pytest.raises(InputError) as error:
        segmenter.read(0, 0, MASK, (1,), np.uint8)
    assert "the last segdino_analyse had 0: call it first" in message(error)
    assert (error.value.expected, error.value.got) == ("none: call segdino_analyse first", "0")

    segmenter.analyse([IMAGE])

    for arguments, named, compared in (
        ((1, 0, MASK, IMAGE.shape[:2], np.uint8), "image 1", ("0 to 0", "1")),
        ((0, 1, MASK, IMAGE.shape[:2], np.uint8), "head 1", ("0 to 0", "1")),
        ((0, -1, MASK, IMAGE.shape[:2], np.uint8), "head -1", ("0 to 0", "-1")),
        ((0, 0, PROBABILITY, (1, *IMAGE.shape[:2]), np.float32), "not asked", ("", "")),
        ((0, 0, 7, (1, *IMAGE.shape[:2]), np.float32), "output", ("", "")),
        ((0, 0, MASK, (3,), np.uint8), str(SIZE), (str(SIZE), "3")),
    ):
        with pytest.raises(InputError) as error:
            segmenter.read(*arguments)
        assert named in message(error)
        assert (error.value.expected, error.value.got) == compared


def test_of_several_images_the_one_that_is_refused_is_named(segmenter: NativeSegmenter) -> None:
    def refused(*images: ImageStruct) -> str:
        structs = (ImageStruct * len(images))(*images)
        with pytest.raises(InputError) as error:
            segmenter.library.call("segdino_analyse", segmenter.handle, structs, len(images), 0, 0, 0)
        return message(error)

    good, null, odd, unknown = (View(IMAGE).to_struct() for _ in range(4))
    null.data, odd.struct_size, unknown.format = None, 7, 9

    assert refused(good, null).startswith("image 1: data is null")
    assert refused(good, good, unknown).startswith("image 2: pixel format 9 is not known")
    assert refused(good, odd).startswith("image 1: struct_size is 7")
    assert refused(null).startswith("image: data is null")


def test_an_output_that_the_model_was_exported_without_is_refused(segmenter: NativeSegmenter) -> None:
    with pytest.raises(InputError) as error:
        segmenter.analyse([IMAGE], probability=True)

    assert "probability" in message(error)


def test_no_images_are_no_error(segmenter: NativeSegmenter) -> None:
    assert segmenter.analyse([]) == []


def test_a_head_or_class_that_is_not_there_is_refused(segmenter: NativeSegmenter) -> None:
    for function, arguments, got in (
        ("segdino_get_head", (1, byref(HeadStruct())), "1"),
        ("segdino_get_head", (-1, byref(HeadStruct())), "-1"),
        ("segdino_get_class_name", (0, 5, byref(ctypes.c_char_p())), "5"),
    ):
        with pytest.raises(InputError) as error:
            segmenter.library.call(function, segmenter.handle, *arguments)
        message(error)
        assert (error.value.expected, error.value.got) == ("0 to 0", got)
