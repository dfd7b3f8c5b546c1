"""TensorRT-RTX compiles kernels where it runs: what it has compiled is kept for the next process.

The file stands in the user's cache folder, never in the bundle, whose files are hashed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdino_deploy.atomic import sha256_of, write_atomically
from segdino_deploy.errors import SegdinoDeployError

if TYPE_CHECKING:
    import tensorrt as trt


def cache_file(engine: Path, version: str, compute_capability: str) -> Path | None:
    """Of one engine with one version of TensorRT-RTX on one kind of GPU. None where the user has no home."""
    home = os.environ.get("XDG_CACHE_HOME")
    if home and not Path(home).is_absolute():
        home = None  # to be ignored, by the specification
    try:
        folder = Path(home) if home else Path.home() / ".cache"
    except RuntimeError:
        return None
    name = f"{sha256_of(engine)[:24]}-{version}-sm{compute_capability.replace('.', '')}.cache"
    return folder / "segdino-deploy" / "tensorrt-rtx" / name


class RuntimeCache:
    """Shared by the contexts of one engine, and to be kept until they are gone."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cache: Any = None
        self._known = b""  # what the file held when it was read
        self._configs: list[Any] = []

    def context(self, engine: trt.ICudaEngine, api: Any) -> trt.IExecutionContext | None:
        """A context that compiles into the cache and runs as a CUDA graph, captured by TensorRT-RTX itself."""
        config: Any = engine.create_runtime_config()
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            self._read()
        config.set_runtime_cache(self._cache)
        config.cuda_graph_strategy = api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._configs.append(config)
        return engine.create_execution_context(config)

    def _read(self) -> None:
        """A file of another version, GPU or driver is refused by TensorRT-RTX, and replaced in the end."""
        if self._path is not None and self._path.is_file():
            with suppress(OSError):
                data = self._path.read_bytes()
                if self._cache.deserialize(data):
                    self._known = data

    def save(self) -> None:
        """Writes what is new. A cache that cannot be written costs time when the engine is opened again, no more."""
        if self._path is None or self._cache is None:
            return
        serialized = self._cache.serialize()
        data = b"" if serialized is None else bytes(serialized)
        if data not in (b"", self._known):
            with suppress(OSError, SegdinoDeployError):
                write_atomically(self._path, data)
                self._known = data

    def close(self) -> None:
        """After the contexts. May be called again."""
        self._configs.clear()
        self._cache = None
