"""Images with their masks, by their names: paths only, no file is read."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.benchmarks.data.layouts import BESIDE_IMAGES, MASK_SUFFIXES
from segdino_deploy.benchmarks.data.places import Place
from segdino_deploy.errors import InputError
from segdino_deploy.images import list_images


@dataclass(frozen=True)
class Sample:
    """One image with its mask, or without one where the folder holds images only."""

    image: Path
    mask: Path | None


def pair(place: Place) -> list[Sample]:
    """All pairs of a split, sorted by stem; images alone where it has no masks at all.

    Stems are equal, or those of all masks end in the same one of `MASK_SUFFIXES`. Raises InputError: no images, a mask
    without its image, an image without its mask, two files with one stem.
    """
    images = _by_stem(place.image_folders(), place.layout.by_name)
    images = {stem: path for stem, path in images.items() if not _shows_superpixels(stem, images)}
    if not place.has_masks:
        return [Sample(images[stem], None) for stem in sorted(images)]
    masks = _by_stem(place.mask_folders(), place.layout.by_name)
    if not masks.keys() & images.keys():
        masks = _without_suffix(masks)
    for some, what, others, where in (
        (masks, "a mask without its image", images, place.layout.image_dir),
        (images, "an image without its mask", masks, place.layout.mask_dir),
    ):
        alone = sorted(some.keys() - others.keys())
        if alone:
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            raise InputError(f"{some[alone[0]]}: is {what} in {place.folder / where}{more}")
    return [Sample(images[stem], masks[stem]) for stem in sorted(images)]


def list_split(place: Place) -> list[Path]:
    """The images of a split in the order of the files, masks left aside. InputError where there are none."""
    files = [path for _, folder in place.image_folders() for path in list_images(folder)]
    stems = {path.with_suffix("").as_posix() for path in files}
    return [path for path in files if not _shows_superpixels(path.with_suffix("").as_posix(), stems)]


def _by_stem(folders: Sequence[tuple[str, Path]], by_name: bool) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for video, folder in folders:
        for path in list_images(folder):
            stem = path.stem if by_name else Path(video, path.relative_to(folder).with_suffix("")).as_posix()
            _add(found, stem, path)
    return found


def _add(found: dict[str, Path], stem: str, path: Path) -> None:
    if stem in found:
        raise InputError(f"{path}: {found[stem].name} has the same stem; keep one of them")
    found[stem] = path


def _without_suffix(masks: dict[str, Path]) -> dict[str, Path]:
    for suffix in MASK_SUFFIXES:
        if all(stem.lower().endswith(suffix) for stem in masks):
            stripped: dict[str, Path] = {}
            for stem, path in masks.items():
                _add(stripped, stem[: -len(suffix)], path)
            return stripped
    return masks


def _shows_superpixels(stem: str, stems: Container[str]) -> bool:
    return stem.endswith(BESIDE_IMAGES) and stem.removesuffix(BESIDE_IMAGES) in stems
