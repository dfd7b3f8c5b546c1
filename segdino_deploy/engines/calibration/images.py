"""Calibration images: which files, in which order, at the model's size."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.atomic import sha256_of
from segdino_deploy.benchmarks.data.pairs import list_split
from segdino_deploy.benchmarks.data.places import Place, choose_place, find_places
from segdino_deploy.errors import InputError, one_line
from segdino_deploy.images import list_images, read_rgb
from segdino_deploy.manifest import ModelCard
from segdino_deploy.progress import OnCount, ignore
from segdino_deploy.segment import load_input

IN_FLIGHT_PER_WORKER = 2  # one being decoded, one waiting: enough that no worker idles, however many images there are
NAMED = 5  # how many unreadable images a message names

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Survey:
    """What decoding every image once has shown."""

    readable: list[Path]  # in the order of the files
    unreadable: dict[str, str]  # path -> reason
    sizes: dict[str, int]  # "HxW" in pixels -> images
    intensity: list[int]  # how often each of the values 0..255 occurs, over R, G and B of all readable images


def evenly_spread(count: int, limit: int) -> list[int]:
    """Indices of at most `limit` of `count` things, evenly spread; none of none."""
    return (
        [int(index) for index in np.unique(np.linspace(0, count - 1, min(count, limit)).astype(int))] if count else []
    )


def calibration_files(source: Path, image_dir: str = "image", *, limit: int | None = None, seed: int = 0) -> list[Path]:
    """The images of a folder, of a data set or of its training split, or those a list names.

    `source`: a folder (a data set may have any layout of `benchmarks/data/layouts.py`; its masks are left aside), or a
    text file (`.txt`) with one image per line, relative paths being relative to the list; blank lines and lines that
    start with # are skipped. `limit`: a sample of at most that many, drawn with `seed` and kept in the order of the
    files. Raises InputError: no images, a missing path, several splits and none for training, `limit` below 1.
    """
    files = _found(source, image_dir)
    if limit is None or limit >= len(files):
        return files
    if limit < 1:
        raise InputError(f"{source}: {limit} calibration images asked for: at least 1 is needed")
    drawn = np.random.Generator(np.random.PCG64(seed)).choice(len(files), limit, replace=False)
    return [files[index] for index in np.sort(drawn)]


def survey(files: Sequence[Path], on_image: OnCount = ignore, *, workers: int = 2) -> Survey:
    """Decodes every image once, in `workers` threads. An image that cannot be read is noted, not raised."""
    readable: list[Path] = []
    unreadable: dict[str, str] = {}
    sizes: Counter[str] = Counter()
    intensity = np.zeros(256, np.int64)
    for index, (file, seen) in enumerate(zip(files, _map_ahead(_look, files, workers), strict=True)):
        if isinstance(seen, str):
            unreadable[str(file)] = seen
        else:
            readable.append(file)
            sizes[seen[0]] += 1
            intensity += seen[1]
        on_image(index + 1, len(files))
    return Survey(readable, unreadable, dict(sizes), intensity.tolist())


def readable_images(files: Sequence[Path], survey: Survey, skip_unreadable: bool) -> list[Path]:
    """`files` without the unreadable ones. InputError, naming them, unless they may be skipped; and if none is left."""
    bad = survey.unreadable
    kept = [file for file in files if str(file) not in bad]
    if not kept:
        raise InputError(f"none of the {len(files)} calibration images can be read: {_named(bad)}: give other images")
    if bad and not skip_unreadable:
        raise InputError(
            f"{len(files) - len(kept)} of {len(files)} calibration images cannot be read: {_named(bad)}: "
            "remove them, or leave them out with --skip-unreadable"
        )
    return kept


def stream_batches(
    files: Sequence[Path], card: ModelCard, on_image: OnCount = ignore, *, workers: int = 2
) -> Iterator[NDArray[np.uint8]]:
    """uint8 `[N, H, W, 3]`, N the smallest batch of the model; the last batch is filled up with its last image.

    Images are decoded and resized ahead in `workers` threads and come in the order of `files`. Raises InputError at
    the first image that cannot be read.
    """
    batch: list[NDArray[np.uint8]] = []
    for index, image in enumerate(_map_ahead(lambda file: load_input(file, card), files, workers)):
        batch.append(image)
        if index == len(files) - 1:
            batch.extend([batch[-1]] * (card.batch.min - len(batch)))
        if len(batch) == card.batch.min:
            yield np.stack(batch)
            batch.clear()
        on_image(index + 1, len(files))


def images_hash(files: Sequence[Path]) -> str:
    """One sha256 over the images' own hashes, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(sha256_of(file).encode())
    return digest.hexdigest()


def _found(source: Path, image_dir: str) -> list[Path]:
    if source.is_file() and source.suffix.lower() == ".txt":
        return _listed(source)
    place = _training(source, find_places(source, image_dir))
    if place is not None:
        return list_split(place)
    if image_dir != "image":
        raise InputError(f"{source}: has no folder {image_dir}/; --image-dir names the one that holds the images")
    return list_images(source)


def _training(source: Path, places: Sequence[Place]) -> Place | None:
    """The split `train`, one that begins so (`trainval`), or the images of a data set without splits.

    None where there is no such thing; InputError where there are several, or masks that must not be taken for images.
    """
    for fits in (lambda split: split == "train", lambda split: split.startswith("train"), lambda split: not split):
        found = [place for place in places if fits(place.split.lower())]
        if found:
            return choose_place(source, found, "train")
    if any(place.has_masks for place in places):
        splits = ", ".join(place.split for place in places)
        raise InputError(f"{source}: has no split train, only {splits}: name the folder of the images")
    return None


def _listed(list_file: Path) -> list[Path]:
    try:
        lines = list_file.read_text(encoding="utf-8-sig").splitlines()  # some editors put a byte order mark first
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{list_file}: cannot be read as UTF-8 text ({one_line(error)})") from error
    files = []
    for number, line in enumerate((line.strip() for line in lines), start=1):
        if not line or line.startswith("#"):
            continue
        file = list_file.parent / line
        if not file.is_file():
            raise InputError(f"{list_file}, line {number}: {file}: no such file: correct the line or remove it")
        files.append(file)
    if not files:
        raise InputError(f"{list_file}: names no images: write one path per line")
    return files


def _look(file: Path) -> tuple[str, NDArray[np.int64]] | str:
    """Size and histogram `[256]` of one image, or why it cannot be read."""
    try:
        image = read_rgb(file)
    except InputError as error:
        return str(error).removeprefix(f"{file}: ")
    counts = Image.fromarray(image).histogram()  # 256 of R, of G, of B
    return f"{image.shape[0]}x{image.shape[1]}", np.array(counts, np.int64).reshape(3, 256).sum(axis=0)


def _named(unreadable: Mapping[str, str]) -> str:
    names = [f"{path} ({reason})" for path, reason in list(unreadable.items())[:NAMED]]
    more = len(unreadable) - len(names)
    return ", ".join(names) + (f", and {more} more" if more else "")


def _map_ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`map` in `workers` threads, in order, at most IN_FLIGHT_PER_WORKER results each ahead of the reader."""
    # Pillow loads most decoders when an image first needs one. An image that is being opened while another thread
    # finishes that would be called unidentified.
    Image.init()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="calibration") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == workers * IN_FLIGHT_PER_WORKER:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the reader has stopped, or an image has failed: what was not begun need not be
            for future in waiting:
                future.cancel()
