"""What is known of one image after its turn: a line of the journal, a row of the table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segdino_deploy.manifest import Record


class HeadResult(Record):
    """What one head found: files by their names below the output folder, pixels per class index at source size."""

    head: str
    mask: str
    mask_sha256: str
    mask_bytes: int
    overlay: str | None = None  # None: not asked for
    overlay_bytes: int | None = None
    pixels: dict[int, int]


class ImageResult(Record):
    """One image that was segmented, or that failed and why."""

    image: str  # its name below its input folder
    status: Literal["ok", "failed"]
    error: str = ""
    sha256: str | None = None  # of the image's file; None: it could not be read
    size_bytes: int | None = None
    mtime_ns: int | None = None  # of a file in an object store: not known
    width: int | None = None
    height: int | None = None
    heads: list[HeadResult] = Field(default_factory=list)
    is_tiled: bool = False  # cut into tiles; else segmented whole
    decode_ms: float | None = None
    resize_ms: float | None = None
    run_ms: float | None = None  # its share of the batch's
    finish_ms: float | None = None  # masks to source size, encoding, writing


def printable(name: str) -> str:
    """A file's name as text that every format can hold: bytes that are no UTF-8 as `\\udc..`."""
    return name.encode("utf-8", "backslashreplace").decode()
