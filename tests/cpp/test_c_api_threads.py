"""What segmenters, calls and threads share in the C API, and what is one's own: engine, last error, timings."""

from __future__ import annotations

import threading
from ctypes import byref
from pathlib import Path

import numpy as np
import pytest

from tests.cpp.c_api_helpers import IMAGE, message
from tests.cpp.capi import InputError, NativeError, NativeLibrary, NativeSegmenter
from tests.cpp.capi_structs import HeadStruct


def test_a_good_call_clears_the_last_error(segmenter: NativeSegmenter) -> None:
    with pytest.raises(InputError):
        segmenter.library.call("segdino_get_head", segmenter.handle, 9, byref(HeadStruct()))
    segmenter.segment(IMAGE)

    assert segmenter.library.c.segdino_last_error() == b""


def test_the_last_error_is_the_calling_threads(library: NativeLibrary) -> None:
    with pytest.raises(InputError) as error:
        library.open(Path("nowhere.segdino"))
    seen: list[bytes] = []
    other = threading.Thread(target=lambda: seen.append(library.c.segdino_last_error()))
    other.start()
    other.join()

    assert seen == [b""]
    assert library.c.segdino_last_error().decode() == message(error)


def test_a_shared_one_outlives_the_first(demo_bundle: Path, library: NativeLibrary) -> None:
    first = library.open(demo_bundle)
    expected = first.segment(IMAGE)
    second = first.share()
    first.close()

    np.testing.assert_array_equal(second.segment(IMAGE), expected)
    second.close()


def test_two_threads_run_one_engine(demo_bundle: Path, library: NativeLibrary) -> None:
    with library.open(demo_bundle, threads=1) as first, first.share() as second:
        expected = first.segment(IMAGE)
        wrong: list[object] = []

        def work(segmenter: NativeSegmenter) -> None:
            try:
                wrong.extend(1 for _ in range(20) if not np.array_equal(segmenter.segment(IMAGE), expected))
            except NativeError as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(segmenter,)) for segmenter in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []


def test_timings_are_of_the_last_call(segmenter: NativeSegmenter) -> None:
    assert set(segmenter.timings.values()) == {0.0}

    segmenter.segment(IMAGE)

    timings = segmenter.timings
    assert all(value > 0 for value in timings.values())
    assert timings["engine_ms"] <= timings["run_ms"]
