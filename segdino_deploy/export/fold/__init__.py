"""Rewrites that keep the function and remove operations: from the faithful modules to the exported ones."""

from segdino_deploy.export.fold.backbone import FoldedBackbone
from segdino_deploy.export.fold.model import FoldedSegDINO

__all__ = ["FoldedBackbone", "FoldedSegDINO"]
