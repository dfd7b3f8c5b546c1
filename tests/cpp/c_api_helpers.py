"""What tests of the C API share: the packaged example's image, errors of one line, and changed manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segdino_deploy.images import read_rgb
from tests.conftest import EXAMPLE
from tests.cpp.capi import NativeError

IMAGE = read_rgb(sorted((EXAMPLE / "test" / "image").iterdir())[0])
SIZE = IMAGE.shape[0] * IMAGE.shape[1]


def message(error: pytest.ExceptionInfo[NativeError]) -> str:
    text = str(error.value)
    assert text and "\n" not in text
    return text


def change_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def with_engine_of(backend: str) -> Callable[[dict[str, Any]], None]:
    """The bundle's only engine is of another backend now."""

    def change(content: dict[str, Any]) -> None:
        (engine,) = content["engines"].values()
        engine["backend"] = backend
        content["engines"] = {f"{backend}-fp32": engine}

    return change
