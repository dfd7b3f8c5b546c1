"""Images that are far larger than the model: tiles with overlap, blended, in memory that a few rows of tiles bound."""

from segdino_deploy.tiles.options import TileOptions
from segdino_deploy.tiles.predict import predict_tiled
from segdino_deploy.tiles.segment import segment_tiled

__all__ = ["TileOptions", "predict_tiled", "segment_tiled"]
