"""The one thing of an MP4 or QuickTime file that OpenCV does not tell: for how long its picture is shown.

Cuts without re-encoding leave frames in the file that an edit list hides; OpenCV counts them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".3gp"})
MAX_INDEX_BYTES = 256 << 20


def shown_seconds(path: Path) -> float | None:
    """Duration of the first video track after its edit list (ISO/IEC 14496-12, 8.3.2); None: not stated."""
    movie = _movie(path)
    scale = _times(movie, b"mvhd")[0]
    for kind, track in _boxes(movie):
        if kind != b"trak":
            continue
        media = dict(_boxes(dict(_boxes(track)).get(b"mdia", b"")))
        if media.get(b"hdlr", b"")[8:12] == b"vide":
            duration = _times(track, b"tkhd")[1]
            return duration / scale if scale and duration else None
    return None


def _movie(path: Path) -> bytes:
    """The content of `moov`; empty where there is none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        position = 0
        while position + 16 <= size:
            file.seek(position)
            header = file.read(16)
            length, start = int.from_bytes(header[:4], "big"), 8
            if length == 1:  # the length follows, in eight bytes
                length, start = int.from_bytes(header[8:], "big"), 16
            if header[4:8] == b"moov" and length <= MAX_INDEX_BYTES:
                file.seek(position + start, os.SEEK_SET)
                return file.read(max(0, length - start))
            if length < start:  # 0: up to the end of the file
                break
            position += length
    return b""


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of a box: their kinds and contents."""
    position = 0
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        if length < 8:
            return
        yield content[position + 4 : position + 8], content[position + 8 : position + length]
        position += length


def _times(content: bytes, kind: bytes) -> tuple[int, int]:
    """What stands after the two dates of a header box: in `mvhd` time scale and duration, in `tkhd` id and duration."""
    header = dict(_boxes(content)).get(kind, b"")
    width = 8 if header[:1] == b"\1" else 4  # bytes of dates and durations
    first = 4 + 2 * width
    second = first + (8 if kind == b"tkhd" else 4)  # after a track's id there is a reserved field
    duration = int.from_bytes(header[second : second + width], "big")
    is_unknown = duration == 256**width - 1
    return int.from_bytes(header[first : first + 4], "big"), 0 if is_unknown else duration
