"""Optional components: importing them, and saying in one line how to get the missing ones."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from segdino_deploy.errors import MissingComponent, one_line


def has_module(name: str) -> bool:
    """Whether `name` could be imported, without importing it."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # a folder of type stubs has a spec, but no file to import


def install_line(extra: str) -> str:
    return f"pip install 'segdino-deploy[{extra}]'"


def require_module(name: str, purpose: str, *, extra: str) -> ModuleType:
    """The imported module, or MissingComponent with the exact install line."""
    if not has_module(name):
        raise MissingComponent(f"{purpose}: {name} is not installed; {install_line(extra)}")
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken shared library raises whatever it likes
        raise MissingComponent(f"{purpose}: {name} is installed but does not load ({one_line(error)})") from error
