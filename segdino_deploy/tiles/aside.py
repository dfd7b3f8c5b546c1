"""Large images among a folder's others: taken out of its batches and tiled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.errors import InputError
from segdino_deploy.folders.jobs import Job, Target
from segdino_deploy.manifest import ModelCard
from segdino_deploy.progress import OnStage, ignore
from segdino_deploy.requirements import require_module
from segdino_deploy.tiles.formats import SUFFIXES
from segdino_deploy.tiles.options import MASK_FORMATS, TileOptions
from segdino_deploy.tiles.plan import check_options, make_plan
from segdino_deploy.tiles.predict import open_if_large, predict_tiled
from segdino_deploy.tiles.rows import GuardedRows, RowSource


@dataclass(frozen=True)
class TiledImage:
    """One of them, opened: `folders.aside.AsideImage`."""

    job: Job
    source: RowSource
    options: TileOptions
    overlay: bool
    on_tiles: OnStage

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.source.size_hw

    def segment(self, runner: Runner) -> list[tuple[Target, dict[int, int]]]:
        on_tiles = partial(self.on_tiles, f"{self.job.image.name}: tiles")
        source = GuardedRows(self.source, self.job.image)
        predictions = predict_tiled(runner, self.job, self.options, on_tiles, source, self.overlay)
        return [(prediction.target, prediction.pixels) for prediction in predictions]


class TiledImages:
    """What `--mode tile` takes aside: `folders.aside.Aside`."""

    def __init__(self, card: ModelCard, options: TileOptions, overlay: bool = True, on_tiles: OnStage = ignore) -> None:
        """`on_tiles`: which image, tiles done and all of them. Raises InputError for a model or options that cannot be
        tiled with, MissingComponent without the libraries.
        """
        check_options(card, options)
        for library in ("pyvips", "tifffile"):
            require_module(library, "--mode tile", extra="large")
        self._card, self._options, self._overlay, self._on_tiles = card, options, overlay, on_tiles

    @property
    def mask_suffixes(self) -> tuple[str, ...]:
        formats = MASK_FORMATS if self._options.mask_format is None else (self._options.mask_format,)
        return tuple(SUFFIXES[mask_format] for mask_format in formats)

    def open(self, job: Job) -> TiledImage | None:
        source = open_if_large(job.image, self._card, self._options)
        if source is None:
            return None
        try:
            make_plan(source.size_hw, self._card, self._options)
        except InputError as error:
            raise InputError(f"{job.image}: {error}") from error
        return TiledImage(job, source, self._options, self._overlay, self._on_tiles)
