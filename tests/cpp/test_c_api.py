"""Wrong use of the C API, and what can be wrong with a bundle: a status and one line, never a crash."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_uint8, c_void_p, sizeof
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdino_deploy import Bundle, __version__
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.images import read_rgb
from tests.conftest import EXAMPLE
from tests.cpp.building import CPP, NativeBuild
from tests.cpp.bundle_probes import as_the_library_says
from tests.cpp.capi import (
    MASK,
    PROBABILITY,
    HeadStruct,
    ImageStruct,
    InfoStruct,
    InputError,
    MissingComponent,
    NativeError,
    NativeLibrary,
    NativeSegmenter,
    OptionsStruct,
    TimingsStruct,
    View,
)

IMAGE = read_rgb(sorted((EXAMPLE / "test" / "image").iterdir())[0])
SIZE = IMAGE.shape[0] * IMAGE.shape[1]


@pytest.fixture
def bundle(demo_bundle: Path, tmp_path: Path) -> Path:
    """Free to be damaged."""
    shutil.copytree(demo_bundle, tmp_path / "demo.segdino")
    return tmp_path / "demo.segdino"


@pytest.fixture
def segmenter(demo_bundle: Path, library: NativeLibrary) -> Iterator[NativeSegmenter]:
    with library.open(demo_bundle) as opened:
        yield opened


def message(error: pytest.ExceptionInfo[NativeError]) -> str:
    text = str(error.value)
    assert text and "\n" not in text
    return text


def test_the_library_says_what_it_is(library: NativeLibrary) -> None:
    assert library.version() == __version__
    assert library.c.segdino_backends() == b"openvino"


# Pointers and structures


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


# Images and sizes


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


# Bundles


def change_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def python_says(bundle: Path) -> str:
    with pytest.raises(SegdinoDeployError) as error:
        Bundle.open(bundle)
    return str(error.value)


def remove_engine_file(bundle: Path) -> None:
    (bundle / "engines" / "openvino-fp32.bin").unlink()


def truncate_engine(bundle: Path) -> None:
    path = bundle / "engines" / "openvino-fp32.bin"
    path.write_bytes(path.read_bytes()[:-1])


def change_one_bit(bundle: Path) -> None:
    path = bundle / "engines" / "openvino-fp32.xml"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_the_canary(bundle: Path) -> None:
    with (bundle / "canary.npz").open("ab") as file:
        file.write(b"x")


def write_a_newer_schema(bundle: Path) -> None:
    change_manifest(bundle, lambda content: content.update(schema_version=99))


def write_an_older_schema(bundle: Path) -> None:
    change_manifest(bundle, lambda content: content.update(schema_version=1))


def cut_the_manifest(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text()[:1000])


def remove_the_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()


def remove_everything(bundle: Path) -> None:
    shutil.rmtree(bundle)


@pytest.mark.parametrize(
    "damage",
    [
        remove_engine_file,
        truncate_engine,
        change_one_bit,
        change_the_canary,
        write_a_newer_schema,
        write_an_older_schema,
        cut_the_manifest,
        remove_the_manifest,
        remove_everything,
    ],
)
def test_a_damaged_bundle_is_refused_in_pythons_words(
    damage: Callable[[Path], None], bundle: Path, library: NativeLibrary
) -> None:
    damage(bundle)

    with pytest.raises(InputError) as error:
        library.open(bundle)

    assert message(error).startswith(as_the_library_says(python_says(bundle)))


def test_a_change_elsewhere_passes_where_only_the_engine_is_checked(bundle: Path, library: NativeLibrary) -> None:
    change_the_canary(bundle)

    with library.open(bundle, check_only_engine_files=1) as segmenter:
        assert segmenter.segment(IMAGE).shape == IMAGE.shape[:2]
    change_one_bit(bundle)
    with pytest.raises(InputError) as error:
        library.open(bundle, check_only_engine_files=1)
    assert "openvino-fp32.xml was changed since it was written" in message(error)


def test_the_canary_can_be_asked_when_opening(demo_bundle: Path, library: NativeLibrary) -> None:
    library.open(demo_bundle, check_canary=1).close()


def with_engine_of(backend: str) -> Callable[[dict[str, Any]], None]:
    """The bundle's only engine is of another backend now."""

    def change(content: dict[str, Any]) -> None:
        (engine,) = content["engines"].values()
        engine["backend"] = backend
        content["engines"] = {f"{backend}-fp32": engine}

    return change


@pytest.mark.parametrize(
    ("backend", "option"), [("tensorrt", "SEGDINO_WITH_TENSORRT"), ("tensorrt-rtx", "SEGDINO_WITH_TENSORRT_RTX")]
)
def test_an_engine_of_a_backend_that_was_left_out_names_the_option(
    backend: str, option: str, bundle: Path, library: NativeLibrary
) -> None:
    if backend in library.backends():
        pytest.skip(f"{backend} is compiled in here")
    change_manifest(bundle, with_engine_of(backend))

    with pytest.raises(MissingComponent) as error:
        library.open(bundle)

    assert f"-D{option}=ON" in message(error)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"engine": "openvino-int8"}, "openvino-int8"),
        ({"precision": "int8"}, "int8"),
        ({"precision": "fp8"}, "'fp8' is none of fp32, fp16, bf16, int8"),
        ({"backend": "coreml"}, "'coreml' is none of"),
        ({"backend": "tensorrt"}, "no tensorrt engine"),
    ],
)
def test_what_is_named_is_never_replaced(
    options: dict[str, Any], named: str, demo_bundle: Path, library: NativeLibrary
) -> None:
    with pytest.raises(InputError) as error:
        library.open(demo_bundle, **options)

    assert named in message(error)


# Life and threads


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


# The example program


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], 2, "usage: segment_image BUNDLE IMAGE MASK.png [ENGINE]; see --help"),
        (["{bundle}", "{bundle}", "{out}.png"], 2, "{bundle}: a folder, not an image"),
        (["nowhere.segdino", "{image}", "{out}.png"], 2, "no such bundle"),
        (["{bundle}", "nowhere.png", "{out}.png"], 2, "nowhere.png: no such file"),
        (["{bundle}", "{bundle}/manifest.json", "{out}.png"], 2, "not an image that can be read"),
        (["{bundle}", "{deep}", "{out}.png"], 2, "16-bit pixels; convert to 8-bit as for training, then retry"),
        (["{bundle}", "{image}", "{out}.jpg"], 2, "name one that ends in .png"),
        (["{bundle}", "{image}", "{image}/x.png"], 2, "cannot be written"),
        (["{bundle}", "{image}", "{out}.png", "tensorrt-fp16"], 2, "tensorrt-fp16"),
    ],
)
def test_the_example_program_fails_as_the_cli_does(
    arguments: list[str], code: int, named: str, demo_bundle: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((8, 8), np.uint16))
    image = sorted((EXAMPLE / "test" / "image").iterdir())[0]
    places = {"bundle": demo_bundle, "image": image, "out": tmp_path / "out", "deep": tmp_path / "deep.png"}

    done = native_build.run("segment_image", *[argument.format(**places) for argument in arguments])

    assert done.returncode == code
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and named.format(**places) in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep.png"]


def test_the_example_program_has_a_help(native_build: NativeBuild) -> None:
    done = native_build.run("segment_image", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: segment_image BUNDLE IMAGE MASK.png [ENGINE]\n")
    assert "Exit codes: 0 done" in done.stdout


@pytest.mark.parametrize("kind", ["tiff", "webp"])
def test_stb_names_what_it_reads_and_what_reads_more(
    kind: str, demo_bundle: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    from PIL import Image

    greeting = json.loads(native_build.run("segdino_bench", "--version").stdout)
    if greeting["image_files"] != "stb":
        pytest.skip("OpenCV reads it")
    Image.fromarray(IMAGE).save(tmp_path / f"image.{kind}")

    done = native_build.run("segment_image", demo_bundle, tmp_path / f"image.{kind}", tmp_path / "mask.png")

    assert done.returncode == 2
    assert "stb reads PNG, JPEG and BMP; convert it, or build with OpenCV" in done.stderr


def test_the_readmes_example_in_python_gives_the_mask(
    demo_bundle: Path, native_build: NativeBuild, segmenter: NativeSegmenter, tmp_path: Path
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (CPP / "README.md").read_text(), re.DOTALL)
    height, width = IMAGE.shape[:2]
    (tmp_path / "rgb").write_bytes(IMAGE.tobytes())
    for written, here in (
        ('"libsegdino.so"', repr(str(native_build.library))),
        ('b"polyp.segdino"', repr(str(demo_bundle).encode())),
        ("640, 480", f"{width}, {height}"),
        ("bytes(width * height * 3)", f"open({str(tmp_path / 'rgb')!r}, 'rb').read()"),
    ):
        assert example.count(written) == 1
        example = example.replace(written, here)
    names: dict[str, Any] = {}

    exec(example, names)

    np.testing.assert_array_equal(
        np.frombuffer(names["mask"], np.uint8).reshape(height, width), segmenter.segment(IMAGE)
    )


def test_the_example_program_says_what_is_missing(bundle: Path, native_build: NativeBuild, tmp_path: Path) -> None:
    change_manifest(bundle, with_engine_of("tensorrt-rtx"))
    image = sorted((EXAMPLE / "test" / "image").iterdir())[0]

    done = native_build.run("segment_image", bundle, image, tmp_path / "mask.png")

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
