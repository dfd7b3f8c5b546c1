"""A table with one row per image: CSV, or Parquet through pyarrow."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from segdino_deploy.atomic import disk_errors, temporary_of
from segdino_deploy.errors import InputError
from segdino_deploy.folders.records import ImageResult
from segdino_deploy.manifest import HeadCard, ModelCard
from segdino_deploy.requirements import require_module

SUFFIXES = (".csv", ".parquet")
ROWS_PER_GROUP = 10_000  # of a Parquet file; what is in memory at a time
FIRST_COLUMNS = {"path": "string", "status": "string", "error": "string", "width": "int64", "height": "int64"}
LAST_COLUMNS = {
    "decode_ms": "float64",
    "resize_ms": "float64",
    "run_ms": "float64",
    "finish_ms": "float64",
    "sha256": "string",
}

Cell = str | int | float | None


def check_table(path: Path) -> None:
    """Before any work is done for it. Raises InputError (another suffix, no place to write), MissingComponent."""
    check_form(path)
    if path.is_dir():
        raise InputError(f"--table: {path} is a folder")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise InputError(f"no permission to write {path}: choose another place")


def check_form(place: str | PurePath) -> None:
    """As `check_table`, of a table that goes to another place than a folder of this machine."""
    suffix = PurePath(place).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"--table: {place} is neither .csv nor .parquet")
    if suffix == ".parquet":
        require_module("pyarrow", f"--table {place}", extra="table")


def columns_of(card: ModelCard) -> dict[str, str]:
    """Arrow type by column: areas are pixels at the image's own size, `area_px.polyp`, or with named heads
    `area_px.<head>.<class>`.
    """
    areas = dict.fromkeys((column for head in card.heads for column, _ in _areas(head)), "int64")
    return {**FIRST_COLUMNS, **areas, **LAST_COLUMNS}


def row_of(result: ImageResult, card: ModelCard) -> dict[str, Cell]:
    """The row of one image; cells of an image that failed are empty where nothing is known."""
    of_heads = {head.head: head.pixels for head in result.heads}
    areas: dict[str, Cell] = {
        column: of_heads[head.name].get(value, 0) if head.name in of_heads else None
        for head in card.heads
        for column, value in _areas(head)
    }
    first: dict[str, Cell] = {
        "path": result.image,
        "status": result.status,
        "error": result.error,
        "width": result.width,
        "height": result.height,
    }
    return {**first, **areas, **{name: getattr(result, name) for name in LAST_COLUMNS}}


def write_table(path: Path, results: Iterable[ImageResult], card: ModelCard) -> None:
    """Writes the whole table, or nothing. SegdinoDeployError where there is no space left."""
    rows = (row_of(result, card) for result in results)
    with _whole_or_absent(path) as temporary:
        if path.suffix.lower() == ".parquet":
            _write_parquet(temporary, rows, columns_of(card))
        else:
            _write_csv(temporary, rows, columns_of(card))


def _areas(head: HeadCard) -> list[tuple[str, int]]:
    """Column and value in the mask, class by class. Of one class the mask's 1 is the foreground."""
    prefix = f"area_px.{head.name}." if head.name else "area_px."
    first = 1 if head.num_classes == 1 else 0
    return [(prefix + name, value) for value, name in enumerate(head.class_names, start=first)]


def _write_csv(path: Path, rows: Iterable[dict[str, Cell]], columns: dict[str, str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(path: Path, rows: Iterator[dict[str, Cell]], columns: dict[str, str]) -> None:
    pyarrow: Any = require_module("pyarrow", f"--table {path.name}", extra="table")
    parquet: Any = require_module("pyarrow.parquet", f"--table {path.name}", extra="table")
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in columns.items()])
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


@contextmanager
def _whole_or_absent(path: Path) -> Iterator[Path]:
    """A temporary name that becomes `path` once all is on disk."""
    temporary = temporary_of(path)
    with disk_errors(path):
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
