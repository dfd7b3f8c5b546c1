"""NumPy's archives in C++: what NumPy wrote is read as it reads it, everything else is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.cpp.bundle_probes import BundleProbes, Refused

Array = NDArray[np.generic]
UNREADABLE = "test.npz: not an .npz file of NumPy that can be read: "


def saved(save: Callable[..., None] = np.savez_compressed, **arrays: Array) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(header: str, values: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode()
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + values


def refusal(probes: BundleProbes, content: bytes, max_bytes: int = 1 << 20) -> str:
    with pytest.raises(Refused) as caught:
        probes.read_npz(content, max_bytes)
    assert caught.value.kind == "InputError"
    assert str(caught.value).startswith(UNREADABLE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_read(probes: BundleProbes, content: bytes, expected: Mapping[str, Array]) -> None:
    found = probes.read_npz(content)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


RNG = np.random.default_rng(0)
ARRAYS: dict[str, Array] = {
    "image": RNG.integers(0, 256, (2, 16, 32, 3), dtype=np.uint8),
    "polyp.logits": RNG.normal(size=(2, 3, 16, 32)).astype(np.float32),
    "scalar": np.float32(np.nan).reshape(()),
    "one": np.arange(5, dtype=np.uint8),
    "none": np.zeros((3, 0, 2), np.float32),
    "zeros": np.zeros((100, 1000), np.uint8),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves_is_read(save: Callable[..., None], probes: BundleProbes) -> None:
    assert_read(probes, saved(save, **ARRAYS), ARRAYS)
    assert_read(probes, saved(save), {})


def test_a_real_canary_is_read(exported: Callable[[str], Path], joint: Path, probes: BundleProbes) -> None:
    for path in (exported("v1_convt"), joint):
        with np.load(path / "canary.npz") as arrays:
            assert_read(probes, (path / "canary.npz").read_bytes(), dict(arrays))


def test_a_long_header_is_read(probes: BundleProbes) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, ARRAYS["image"], version=(2, 0))

    assert_read(probes, zipped({"image.npy": buffer.getvalue()}), {"image": ARRAYS["image"]})


def test_sizes_of_zip64_are_read(monkeypatch: pytest.MonkeyPatch, probes: BundleProbes) -> None:
    """As of arrays with more than 2 GiB: the standard library then writes every number in 64 bits."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    content = saved(**ARRAYS)

    assert b"PK\x06\x06" in content
    assert_read(probes, content, ARRAYS)
    end = content.rindex(b"PK\x05\x06")  # other programs fill up the fields that 64 bits replace
    filled = content[: end + 8] + b"\xff" * 12 + content[end + 20 :]
    assert_read(probes, filled, ARRAYS)
    assert "its directory is not there" in refusal(probes, filled.replace(b"PK\x06\x06", b"PK\x06\x05"))


def test_a_comment_at_the_end_is_passed_over(probes: BundleProbes) -> None:
    for comment in (b"c", b"PK\x05\x06" * 10, b"x" * 65535):
        content = saved(one=ARRAYS["one"])
        content = content[:-2] + struct.pack("<H", len(comment)) + comment
        assert_read(probes, content, {"one": ARRAYS["one"]})


HEADERS = {
    "as written": "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }",
    "without a comma": "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3)}",
    "another order": "{'shape': (2, 3), 'descr': '|u1', 'fortran_order': False}",
    "other spaces": " { 'descr':'|u1','fortran_order':False,'shape':( 2,3, ) }   \n",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=list(HEADERS))
def test_spellings_of_a_header_that_numpy_takes_are_read(header: str, probes: BundleProbes) -> None:
    assert_read(
        probes, zipped({"a.npy": npy(header, bytes(range(6)))}), {"a": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    )


DAMAGED_HEADERS = [
    "",
    "{",
    "{}",
    "[]",
    "{'descr': '|u1', 'fortran_order': False}",
    "{'descr': '|u1', 'shape': (6,)}",
    "{'fortran_order': False, 'shape': (6,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (6,), 'more': 1}",
    "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (6,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (6)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': 6}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (6,,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (-6,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (6.0,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (6,}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (6,)",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (6,)} more",
    "{'descr': '|u1', 'fortran_order': False 'shape': (6,)}",
    "{'descr': '|u1, 'fortran_order': False, 'shape': (6,)}",
    "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (6,)}",
    "{'descr': '|u1', 'fortran_order': 0, 'shape': (6,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775808,)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999999,)}",
]


@pytest.mark.parametrize("header", DAMAGED_HEADERS)
def test_a_damaged_header_is_refused(header: str, probes: BundleProbes) -> None:
    refusal(probes, zipped({"a.npy": npy(header, bytes(6))}))


SHAPES = ["(5,)", "(7,)", "(2, 4)", "()", "(0,)", "(4294967296, 4294967296)", "(3, 9223372036854775807)"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["|u1", "<f4"])
def test_a_shape_that_is_not_its_values_is_refused(shape: str, dtype: str, probes: BundleProbes) -> None:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"

    assert "a.npy has a size that is not its shape's" in refusal(probes, zipped({"a.npy": npy(header, bytes(6))}))


def test_a_shape_with_a_zero_holds_nothing_however_long_it_is(probes: BundleProbes) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807, 0)}"

    with pytest.raises(Refused):
        probes.read_npz(zipped({"a.npy": npy(header, bytes(6))}))
    assert probes.read_npz(zipped({"a.npy": npy(header.replace("9223372036854775807", "9"))}))["a"].shape == (9, 9, 0)


OTHER: dict[str, Array] = {
    "float64": np.zeros(3),
    "int8": np.zeros(3, np.int8),
    "bool": np.zeros(3, bool),
    "big-endian": np.zeros(3, ">f4"),
    "complex": np.zeros(3, np.complex64),
    "text": np.array(["a"]),
    "fortran": np.asfortranarray(RNG.normal(size=(3, 4)).astype(np.float32)),
    "fields": np.zeros(3, [("a", np.uint8)]),
}


@pytest.mark.parametrize("kind", OTHER)
def test_arrays_of_other_kinds_are_refused(kind: str, probes: BundleProbes) -> None:
    refusal(probes, saved(a=OTHER[kind]))


def test_pickled_objects_are_refused(probes: BundleProbes) -> None:
    assert "a.npy has type |O" in refusal(probes, saved(a=np.array([{}], dtype=object)))


HEADER = HEADERS["as written"]
OTHER_ARCHIVES = {
    "empty": b"",
    "text": b"not an archive, although it is longer than the end of one",
    "an array": npy(HEADER, bytes(6)),
    "another file": zipped({"a.txt": b"text"}),
    "short name": zipped({"npy": npy(HEADER, bytes(6))}),
    "no array": zipped({"a.npy": b"text"}),
    "nothing": zipped({"a.npy": b""}),
    "version 3": zipped({"a.npy": npy(HEADER, bytes(6), (3, 0))}),
    "version 1.1": zipped({"a.npy": npy(HEADER, bytes(6), (1, 1))}),
    "long header": zipped({"a.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + HEADER.encode()}),
    "bzip2": zipped({"a.npy": npy(HEADER, bytes(6))}, zipfile.ZIP_BZIP2),
    "lzma": zipped({"a.npy": npy(HEADER, bytes(6))}, zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("kind", OTHER_ARCHIVES)
def test_other_files_are_refused(kind: str, probes: BundleProbes) -> None:
    refusal(probes, OTHER_ARCHIVES[kind])


def test_two_arrays_of_one_name_are_refused(probes: BundleProbes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", npy(HEADER, bytes(6)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", npy(HEADER, bytes(6)))

    assert "a.npy is there twice" in refusal(probes, buffer.getvalue())


def test_an_encrypted_array_is_refused(probes: BundleProbes) -> None:
    content = bytearray(zipped({"a.npy": npy(HEADER, bytes(6))}))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1

    assert "it is encrypted" in refusal(probes, bytes(content))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_cut_off_anywhere_is_refused(save: Callable[..., None], probes: BundleProbes) -> None:
    content = saved(save, image=ARRAYS["one"], logits=ARRAYS["scalar"])

    for length in range(len(content)):
        refusal(probes, content[:length])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_changed_byte_is_noticed_or_changes_nothing(
    flip: int, save: Callable[..., None], probes: BundleProbes
) -> None:
    """Values never change. What is not an array's (names, dates, the versions that packed it) may."""
    arrays = {"image": ARRAYS["one"], "logits": np.arange(6, dtype=np.float32)}
    content = saved(save, **arrays)
    refused = 0
    for place in range(len(content)):
        damaged = content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
        try:
            found = sorted(probes.read_npz(damaged).values(), key=lambda array: array.size)
        except Refused as error:
            assert error.kind == "InputError"
            refused += 1
            continue
        for array, expected in zip(found, arrays.values(), strict=False):
            np.testing.assert_array_equal(array, expected)

    assert refused > len(content) / 2


def test_no_more_is_unpacked_than_allowed(probes: BundleProbes) -> None:
    content = saved(a=np.zeros(1000, np.uint8), b=np.zeros(1000, np.uint8))
    needed = sum(info.file_size for info in zipfile.ZipFile(io.BytesIO(content)).infolist())

    assert len(probes.read_npz(content, needed)) == 2
    assert f"it holds more than {needed - 1} bytes" in refusal(probes, content, needed - 1)


def test_a_size_that_deflate_cannot_reach_takes_no_memory(probes: BundleProbes) -> None:
    content = bytearray(saved(a=np.zeros(1000, np.uint8)))
    struct.pack_into("<I", content, content.rindex(b"PK\x01\x02") + 24, 0xFFFFFFF0)

    assert "a.npy has an impossible size" in refusal(probes, bytes(content), 1 << 40)


@pytest.mark.parametrize("field", [10, 12, 16])
@pytest.mark.parametrize("value", [0, 1, 0x7FFF, 0xFFFF])
def test_wrong_numbers_at_the_end_are_refused_or_mean_nothing(field: int, value: int, probes: BundleProbes) -> None:
    content = bytearray(saved(one=ARRAYS["one"]))
    struct.pack_into("<H", content, len(content) - 22 + field, value)
    try:
        found = probes.read_npz(bytes(content))
    except Refused as error:
        assert error.kind == "InputError"
    else:
        assert field == 12 or value in (0, 1)  # the directory's size is not needed; no entries, or the one
        assert all((array == ARRAYS["one"]).all() for array in found.values())
