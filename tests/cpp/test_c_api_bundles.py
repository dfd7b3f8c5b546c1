"""Opening by the C API what is damaged, left out or not there: a status and one line, never a crash."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segdino_deploy import Bundle
from segdino_deploy.errors import SegdinoDeployError
from tests.cpp.bundle_probes import as_the_library_says
from tests.cpp.c_api_helpers import IMAGE, change_manifest, message, with_engine_of
from tests.cpp.capi import InputError, MissingComponent, NativeLibrary


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
    damage: Callable[[Path], None], demo_copy: Path, library: NativeLibrary
) -> None:
    damage(demo_copy)

    with pytest.raises(InputError) as error:
        library.open(demo_copy)

    assert message(error).startswith(as_the_library_says(python_says(demo_copy)))


def test_a_change_elsewhere_passes_where_only_the_engine_is_checked(demo_copy: Path, library: NativeLibrary) -> None:
    change_the_canary(demo_copy)

    with library.open(demo_copy, check_only_engine_files=1) as segmenter:
        assert segmenter.segment(IMAGE).shape == IMAGE.shape[:2]
    change_one_bit(demo_copy)
    with pytest.raises(InputError) as error:
        library.open(demo_copy, check_only_engine_files=1)
    assert "openvino-fp32.xml was changed since it was written" in message(error)


def test_the_canary_can_be_asked_when_opening(demo_bundle: Path, library: NativeLibrary) -> None:
    library.open(demo_bundle, check_canary=1).close()


@pytest.mark.parametrize(
    ("backend", "option"), [("tensorrt", "SEGDINO_WITH_TENSORRT"), ("tensorrt-rtx", "SEGDINO_WITH_TENSORRT_RTX")]
)
def test_an_engine_of_a_backend_that_was_left_out_names_the_option(
    backend: str, option: str, demo_copy: Path, library: NativeLibrary
) -> None:
    if backend in library.backends():
        pytest.skip(f"{backend} is compiled in here")
    change_manifest(demo_copy, with_engine_of(backend))

    with pytest.raises(MissingComponent) as error:
        library.open(demo_copy)

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
