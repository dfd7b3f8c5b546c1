"""Where a build puts its files until they are taken over into the bundle, and whether they still belong there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segdino_deploy.atomic import disk_errors
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import Manifest

WORKING_PREFIX = ".build-"  # followed by the process id


@contextmanager
def working_directory(bundle: Path) -> Iterator[Path]:
    """A folder inside the bundle (so that taking its files over is a rename), removed in the end."""
    directory = bundle / f"{WORKING_PREFIX}{os.getpid()}"
    with disk_errors(bundle):
        remove_leftovers(bundle)
        directory.mkdir(exist_ok=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def remove_leftovers(bundle: Path) -> None:
    """Of builds that were killed. What cannot be removed here stays."""
    for left in bundle.glob(f"{WORKING_PREFIX}*"):
        if not _is_running(left.name.removeprefix(WORKING_PREFIX)):
            shutil.rmtree(left, ignore_errors=True)


def unless_exported_anew(
    manifest: Manifest, opened: Manifest, path: Path, what: str = "this engine was built; build it again"
) -> Manifest:
    """The manifest as it is now, or InputError where its model is not the one that was `opened`."""
    if manifest.model != opened.model or manifest.onnx["fp32"] != opened.onnx["fp32"]:
        raise InputError(f"{path}: was exported anew while {what}")
    return manifest


def _is_running(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
