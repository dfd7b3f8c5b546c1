"""PyTorch's exporter takes most of the time of these tests, and is asked for the same graphs again and again: here it
makes each of them once for all workers of one run. What it makes depends on the module, its weights and the arguments
alone, all of which are in the key; a module that cannot be pickled is traced anew.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from filelock import FileLock

Trace = Callable[..., onnx.ModelProto]


def sharing(trace: Trace, folder: Path) -> Trace:
    """`trace`, which makes what `folder` does not hold yet."""

    def shared(*arguments: Any, **options: Any) -> onnx.ModelProto:
        key = key_of((arguments, sorted(options.items())))
        if key is None:
            return trace(*arguments, **options)
        path = folder / f"{key}.onnx"
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                path.write_bytes(trace(*arguments, **options).SerializeToString())
        return onnx.load(path)

    return shared


def key_of(what: object) -> str | None:
    """sha256 of everything that is reachable from it, tensors by their contents; None where it cannot be pickled."""
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(what)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    return hashlib.sha256(buffer.getvalue()).hexdigest()


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> tuple[str, ...] | None:
        if not isinstance(obj, torch.Tensor):
            return None
        values = obj.detach().contiguous().view(-1).view(torch.uint8).numpy() if obj.numel() else b""
        content = hashlib.sha256(bytes(values)).hexdigest()
        return str(obj.dtype), str(tuple(obj.shape)), str(obj.requires_grad), content
