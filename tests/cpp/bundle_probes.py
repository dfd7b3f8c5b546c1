"""The C++ library's bundle, archive and canary internals for Python: probe_bundle.cpp by ctypes."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Sequence
from ctypes import c_char_p, c_double, c_float, c_int, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import SegdinoDeployError

Array = NDArray[np.generic]


class Refused(Exception):
    """What a probe threw: `kind` is its class, `expected` and `got` what it compared."""

    def __init__(self, message: str, kind: str, expected: str, got: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.expected = expected
        self.got = got


@dataclass(frozen=True)
class BundleProbes:
    """One method per probe. Raises Refused."""

    path: Path

    def __post_init__(self) -> None:
        library = ctypes.CDLL(str(self.path))
        object.__setattr__(self, "_library", library)
        for name in ("probe_error", "probe_text", "probe_kind", "probe_expected", "probe_got"):
            getattr(library, name).restype = c_char_p
        library.probe_logit_of.restype = c_double

    def parse_manifest(self, content: bytes, where: str = "some.segdino") -> Any:
        return self._call("parse_manifest", content, c_size_t(len(content)), where.encode())

    def read_bundle(self, path: Path | str) -> Any:
        return self._call("read_bundle", str(path).encode())

    def check_files(self, path: Path, engine: str | None = None) -> None:
        """Of a bundle that is read anew; `engine`: only this one's."""
        self._call("check_files", str(path).encode(), None if engine is None else engine.encode())

    def check_files_of(self, path: Path, manifest: bytes) -> None:
        """Against a manifest that was read before."""
        self._call("check_files_of", str(path).encode(), manifest, c_size_t(len(manifest)))

    def choose_engines(
        self, path: Path, manifest: bytes, engine: str = "", backend: str = "", precision: str = ""
    ) -> list[str]:
        asked = [text.encode() for text in (engine, backend, precision)]
        return list(self._call("choose_engines", str(path).encode(), manifest, c_size_t(len(manifest)), *asked))

    def rebuild_command(self, path: Path, manifest: bytes, engine: str, same_targets: bool) -> str:
        size = c_size_t(len(manifest))
        return str(
            self._call("rebuild_command", str(path).encode(), manifest, size, engine.encode(), c_int(same_targets))
        )

    def sha256(self, path: Path) -> str:
        return str(self._call("sha256", str(path).encode()))

    def shell_quoted(self, text: str) -> str:
        return str(self._call("shell_quoted", text.encode()))

    def one_line(self, text: str) -> str:
        return str(self._call("one_line", text.encode()))

    def read_npz(self, content: bytes, max_bytes: int = 1 << 32) -> dict[str, Array]:
        room = np.zeros(max(1, min(max_bytes, 1 << 24)), np.uint8)
        size = c_size_t(len(content))
        found = self._call(
            "read_npz", content, size, c_uint64(max_bytes), room.ctypes.data_as(c_void_p), c_size_t(room.size)
        )
        arrays = {}
        for name, (dtype, shape, offset) in found.items():
            size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            arrays[name] = np.frombuffer(room[offset : offset + size_bytes].tobytes(), dtype).reshape(shape)
        return arrays

    def logit_of(self, threshold: float) -> float:
        return float(self._library.probe_logit_of(c_double(threshold)))  # type: ignore[attr-defined]

    def mask_from_values(self, values: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
        """`[C, pixels]` to `[pixels]`."""
        classes, pixels = values.shape
        contiguous = np.ascontiguousarray(values)
        mask = np.full(pixels, 77, np.uint8)
        self._library.probe_mask_from_values(  # type: ignore[attr-defined]
            contiguous.ctypes.data_as(c_void_p),
            c_int(classes),
            c_size_t(pixels),
            c_float(threshold),
            mask.ctypes.data_as(c_void_p),
        )
        return mask

    def check_canary(self, path: Path, engine: str, outputs: Sequence[Array], image_bytes: int) -> bytes:
        """What the engine, whose `outputs` these are, was given as the image."""
        kept = [np.ascontiguousarray(array) for array in outputs]
        pointers = (c_void_p * len(kept))(*[array.ctypes.data for array in kept])
        seen = np.zeros(image_bytes, np.uint8)
        size = c_size_t(seen.size)
        self._call("check_canary", str(path).encode(), engine.encode(), pointers, seen.ctypes.data_as(c_void_p), size)
        return seen.tobytes()

    def _call(self, name: str, *arguments: object) -> Any:
        library: Any = self._library  # type: ignore[attr-defined]
        if getattr(library, f"probe_{name}")(*arguments) == 0:
            return json.loads(library.probe_text())
        raise Refused(
            library.probe_error().decode(),
            library.probe_kind().decode(),
            library.probe_expected().decode(),
            library.probe_got().decode(),
        )


def as_the_library_says(message: str) -> str:
    """A message of Python's: what has to be updated where a bundle is too new is another program in C++."""
    return message.replace("): update this one", "): build and install this library again, from that version")


def python_error(call: Callable[[], object]) -> str:
    """What the Python package says where it refuses; empty where it does not."""
    try:
        call()
    except SegdinoDeployError as error:
        return str(error)
    return ""
