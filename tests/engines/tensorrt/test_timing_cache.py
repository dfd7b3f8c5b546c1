"""Kernel timings of former builds: used where they fit, and never in the way of an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.timing_cache import (
    check_timing_cache,
    read_timing_cache,
    write_timing_cache,
)
from segdino_deploy.errors import InputError


class Cache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes | None:
        return self.data + b" and more"


class Config:
    """TensorRT's configuration: `damaged` data makes no cache, `foreign` data makes one that is not taken."""

    def __init__(self) -> None:
        self.cache: Cache | None = None

    def create_timing_cache(self, data: bytes) -> Cache | None:
        return None if data == b"damaged" else Cache(data)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.data == b"foreign":
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        return self.cache


@pytest.fixture
def config() -> Any:
    return Config()


def test_what_a_former_build_measured_is_used_and_added_to(config: Any, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "timing.cache"
    check_timing_cache(path)
    assert read_timing_cache(config, path) == ""
    assert config.cache.data == b""
    assert write_timing_cache(config, path) == ""
    assert path.read_bytes() == b" and more"

    assert read_timing_cache(config, path) == ""
    assert config.cache.data == b" and more"


@pytest.mark.parametrize("content", [b"damaged", b"foreign"])
def test_a_cache_that_does_not_fit_is_replaced_with_a_note(content: bytes, config: Any, tmp_path: Path) -> None:
    path = tmp_path / "timing.cache"
    path.write_bytes(content)

    note = read_timing_cache(config, path)

    assert note == f"{path}: is of another device or version, or damaged; timing begins anew and replaces it"
    assert config.cache.data == b""
    assert write_timing_cache(config, path) == ""
    assert path.read_bytes() == b" and more"


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_timing_cache(None)
    for path, said in (
        (tmp_path, f"--timing-cache: {tmp_path} is a folder; name a file"),
        (tmp_path / "file" / "timing.cache", "timing.cache: a file stands where a folder is needed"),
    ):
        with pytest.raises(InputError, match=said):
            check_timing_cache(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]  # the try leaves nothing


def test_a_cache_that_cannot_be_written_in_the_end_costs_no_engine(config: Any, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "timing.cache"
    read_timing_cache(config, path)
    (tmp_path / "folder").write_text("a file in the folder's place")

    note = write_timing_cache(config, path)

    assert note.startswith(f"the kernel timings were not kept: cannot write {path}: a file stands")
    config.cache = None
    assert write_timing_cache(config, path) == ""
