"""What TensorRT-RTX has compiled stays for the next process, outside the bundle."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.runtime_cache import RuntimeCache, cache_file

API = SimpleNamespace(CudaGraphStrategy=SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole graph"))


class Library:
    """TensorRT-RTX's caches: `compiled` is what a run adds, `refuses` a file of another version or GPU."""

    def __init__(self, compiled: bytes = b"", *, refuses: bool = False) -> None:
        self.compiled, self.refuses = compiled, refuses
        self.contexts: list[Any] = []

    def create_runtime_config(self) -> Any:
        library = self

        class Cache:
            def __init__(self) -> None:
                self.content = b""

            def deserialize(self, data: bytes) -> bool:
                self.content = b"" if library.refuses else data
                return not library.refuses

            def serialize(self) -> bytes:
                return self.content + library.compiled

        class Config:
            cuda_graph_strategy = "none"

            def create_runtime_cache(self) -> Cache:
                return Cache()

            def set_runtime_cache(self, cache: Cache) -> None:
                self.cache = cache

        return Config()

    def create_execution_context(self, config: Any) -> Any:
        self.contexts.append(config)
        return config


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "segdino-deploy" / "x.cache"


def test_contexts_share_one_cache_and_capture_whole_graphs(path: Path) -> None:
    cache = RuntimeCache(path)
    library: Any = Library()

    first, second = cache.context(library, API), cache.context(library, API)

    assert first is not second
    assert first.cache is second.cache  # type: ignore[union-attr]
    assert first.cuda_graph_strategy == "whole graph"  # type: ignore[union-attr]


def test_what_was_compiled_is_there_the_next_time(path: Path) -> None:
    first = RuntimeCache(path)
    first.context(Library(b"kernels"), API)  # type: ignore[arg-type]
    first.save()
    assert path.read_bytes() == b"kernels"
    written = path.stat().st_mtime_ns

    again = RuntimeCache(path)
    context: Any = again.context(Library(), API)  # type: ignore[arg-type]
    assert context.cache.content == b"kernels"
    again.save()

    assert path.stat().st_mtime_ns == written  # nothing new, nothing written
    assert [entry.name for entry in path.parent.iterdir()] == ["x.cache"]


def test_a_library_that_gives_no_cache_costs_no_result(path: Path) -> None:
    class Silent(Library):
        def create_runtime_config(self) -> Any:
            config = super().create_runtime_config()
            cache = config.create_runtime_cache()
            cache.serialize = lambda: None
            config.create_runtime_cache = lambda: cache
            return config

    cache = RuntimeCache(path)
    cache.context(Silent(b"kernels"), API)  # type: ignore[arg-type]

    cache.save()

    assert not path.exists()


def test_a_cache_of_another_gpu_or_version_is_replaced(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"of another GPU")
    cache = RuntimeCache(path)
    cache.context(Library(b"kernels", refuses=True), API)  # type: ignore[arg-type]

    cache.save()

    assert path.read_bytes() == b"kernels"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_costs_no_result(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    cache = RuntimeCache(tmp_path / "folder" / "x.cache")
    cache.context(Library(b"kernels"), API)  # type: ignore[arg-type]

    cache.save()
    cache.close()


def test_a_file_in_the_folders_place_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    cache = RuntimeCache(tmp_path / "folder" / "x.cache")
    cache.context(Library(b"kernels"), API)  # type: ignore[arg-type]

    cache.save()
    cache.close()
    cache.save()
    cache.close()


def test_the_file_stands_in_the_users_cache_and_is_named_by_what_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engine = tmp_path / "b.segdino" / "engines" / "x.rtx"
    engine.parent.mkdir(parents=True)
    engine.write_bytes(b"engine")

    names = {cache_file(engine, "1.7.1.116", "8.9"), cache_file(engine, "1.8.0", "8.9")}
    names |= {cache_file(engine, "1.7.1.116", "12.0")}
    engine.write_bytes(b"another engine")
    names |= {cache_file(engine, "1.7.1.116", "8.9")}

    assert len(names) == 4
    assert all(name is not None and name.is_relative_to(tmp_path / "cache" / "segdino-deploy") for name in names)
    assert [entry.name for entry in engine.parent.iterdir()] == ["x.rtx"]


@pytest.mark.parametrize("value", [None, "", "relative/is/ignored"])
def test_without_the_variable_it_is_the_home_folder(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    engine = tmp_path / "x.rtx"
    engine.write_bytes(b"engine")

    found = cache_file(engine, "1.7.1", "8.9")

    assert found is not None
    assert found.is_relative_to(tmp_path / ".cache" / "segdino-deploy")
