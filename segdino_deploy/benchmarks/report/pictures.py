"""Pictures inside a page: as they are where they fit, smaller where they do not, and said so."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from segdino_deploy.benchmarks.result import BenchResult, WorstCase
from segdino_deploy.errors import InputError

ReadPicture = Callable[[str], bytes]  # path relative to the report's folder, to the bytes of a PNG file

MOST_BYTES = 3_000_000  # of all pictures of a page, in base64
MOST_CASES = 40  # of a page
# WebP's quality (None: lossless) and the longest side in pixels, one step after the other until the page is small.
STEPS: tuple[tuple[int | None, int], ...] = ((None, 1024), (85, 640), (75, 400))


@dataclass(frozen=True)
class Embedded:
    """The worst cases that a page shows, with their pictures as data URIs by path."""

    cases: dict[str, list[WorstCase]]  # by engine
    uris: dict[str, str]
    note: str  # one or two sentences; empty: all of them, as they are


def read_pictures(result: BenchResult, read_picture: ReadPicture) -> dict[str, bytes]:
    """The pictures of all worst cases. Raises InputError for a path that leads out, and what `read_picture` raises."""
    paths = dict.fromkeys(path for row in result.rows for case in row.worst for path in paths_of(case))
    return {path: read_picture(_inside(path)) for path in paths}


def embed(result: BenchResult, pictures: Mapping[str, bytes]) -> Embedded:
    """Chooses what a page can show of `pictures`, PNG files by path."""
    chosen, total = _choose(result)
    files = {path: pictures[path] for cases in chosen.values() for case in cases for path in paths_of(case)}
    notes = []
    uris = {path: _data_uri(data, "png") for path, data in files.items()}
    if _size(uris, chosen) > MOST_BYTES:
        for quality, side in STEPS:
            smaller = {path: _webp(data, quality, side) for path, data in files.items()}
            uris = {path: _data_uri(data, "webp") for path, (data, _) in smaller.items()}
            if _size(uris, chosen) <= MOST_BYTES:
                break
        if quality is not None or any(was_larger for _, was_larger in smaller.values()):
            how = f"at most {side} pixels wide or high" + ("" if quality is None else ", compressed with losses")
            notes.append(f"The pictures are smaller than those measured ({how}); these lie in the report's folder.")
    while _size(uris, chosen) > MOST_BYTES and any(chosen.values()):
        most = max(chosen, key=lambda name: len(chosen[name]))
        chosen[most] = chosen[most][:-1]
    shown = sum(len(cases) for cases in chosen.values())
    if shown < total:
        notes.append(f"{shown} of {total} cases are shown; all are in report.json.")
    return Embedded(chosen, uris, " ".join(notes))


def paths_of(case: WorstCase) -> list[str]:
    paths = [case.reference_picture, case.engine_picture, case.disagreement_picture]
    return paths if case.truth_picture is None else [*paths, case.truth_picture]


def _choose(result: BenchResult) -> tuple[dict[str, list[WorstCase]], int]:
    """The first cases of every engine, the same number of each, and how many there are."""
    cases = {row.name: list(row.worst) for row in result.rows if row.worst}
    total = sum(len(entries) for entries in cases.values())
    while sum(len(entries) for entries in cases.values()) > MOST_CASES:
        most = max(cases, key=lambda name: len(cases[name]))
        cases[most].pop()
    return cases, total


def _inside(path: str) -> str:
    """The path, which may come from a file that somebody sent."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise InputError(f"report: the picture {path} is outside the report's folder; measure again with bench")
    return path


def _size(uris: Mapping[str, str], chosen: Mapping[str, list[WorstCase]]) -> int:
    """Each use counts: a page holds a picture as often as it shows it."""
    return sum(len(uris[path]) for cases in chosen.values() for case in cases for path in paths_of(case))


def _webp(data: bytes, quality: int | None, longest_side: int) -> tuple[bytes, bool]:
    """The smaller file, and whether the picture was larger than `longest_side`."""
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    was_larger = max(image.size) > longest_side
    image.thumbnail((longest_side, longest_side))
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=quality is None, quality=80 if quality is None else quality)
    return buffer.getvalue(), was_larger


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
