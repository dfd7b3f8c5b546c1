"""segdino-deploy: from a trained SegDINO checkpoint to a fast, verified engine.

    from segdino_deploy import Bundle, build_engine, export_model, load_segdino, open_engine

Names are imported on first use, so `import segdino_deploy` loads neither torch nor any backend.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.engines.build import build_engine
    from segdino_deploy.engines.run import open_engine
    from segdino_deploy.export.pipeline import export_heads, export_model
    from segdino_deploy.model.checkpoint import load_segdino

_HOME = {
    "Bundle": "segdino_deploy.bundle",
    "build_engine": "segdino_deploy.engines.build",
    "export_heads": "segdino_deploy.export.pipeline",
    "export_model": "segdino_deploy.export.pipeline",
    "load_segdino": "segdino_deploy.model.checkpoint",
    "open_engine": "segdino_deploy.engines.run",
}

__all__ = [
    "Bundle",
    "__version__",
    "build_engine",
    "export_heads",
    "export_model",
    "load_segdino",
    "open_engine",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'segdino_deploy' has no attribute {name!r}")
