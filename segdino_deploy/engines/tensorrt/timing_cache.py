"""Kernel timings of former builds on this device, in a file of the user's: they make the next build shorter."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from segdino_deploy.atomic import disk_errors, write_atomically
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line

if TYPE_CHECKING:
    import tensorrt as trt


def check_timing_cache(path: Path | None) -> None:
    """InputError, naming the file, where it cannot be read or written: before a build takes minutes for nothing."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"--timing-cache: {path} is a folder; name a file")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists():
            path.open("rb").close()


def read_timing_cache(config: trt.IBuilderConfig, path: Path) -> str:
    """Gives the builder what the file holds, and nothing where that does not fit: then a note for the user."""
    known = path.read_bytes() if path.is_file() else b""
    for data in (known, b""):
        cache: trt.ITimingCache | None = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            break
    else:
        return f"{path}: is not used, for TensorRT takes no timing cache here"
    if data == known:
        return ""
    return f"{path}: is of another device or version, or damaged; timing begins anew and replaces it"


def write_timing_cache(config: trt.IBuilderConfig, path: Path) -> str:
    """Adds what was measured. A note where it cannot be kept: the engine is there, and that is what was asked for."""
    cache: trt.ITimingCache | None = config.get_timing_cache()
    data = None if cache is None else cache.serialize()
    if data is None:
        return ""
    try:
        write_atomically(path, bytes(data))
    except (SegdinoDeployError, OSError) as error:
        return f"the kernel timings were not kept: {one_line(error)}"
    return ""
