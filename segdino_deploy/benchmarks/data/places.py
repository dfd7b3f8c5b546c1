"""Which folders of a data set hold the images and the masks of a split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.benchmarks.data.layouts import EVERY, NAMED, OTHERS, SEGDINO, SPLIT_NAMES, Layout, named
from segdino_deploy.errors import InputError
from segdino_deploy.images import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Place:
    """One split of a data set, or all of one that has none."""

    layout: Layout  # without {split}
    folder: Path  # around images and masks
    split: str  # "" where there is none
    has_masks: bool

    def image_folders(self) -> list[tuple[str, Path]]:
        """Folders of images, each with the name of its video; "" where the layout does not part them."""
        return _folders(self.folder, self.layout.image_dir)

    def mask_folders(self) -> list[tuple[str, Path]]:
        return _folders(self.folder, self.layout.mask_dir) if self.has_masks else []

    def words(self, directory: Path) -> str:
        """Which layout and folders: `as in TN3K: test-image/ and test-mask/`."""
        inner = self.folder.relative_to(directory)
        images, masks = ((inner / name).as_posix() for name in (self.layout.image_dir, self.layout.mask_dir))
        how = self.layout.name if self.layout.name == NAMED else f"as in {self.layout.name}"
        return f"{how}: {images}/" + (f" and {masks}/" if self.has_masks else ", no masks")


def find_places(directory: Path, image_dir: str | None = None, mask_dir: str | None = None) -> list[Place]:
    """The splits of a data set, as the first layout that fits has them; none where no layout does.

    They are looked for in `directory`, then in its folders, then, if it holds a single folder, in that one. Folders
    that are named (relative to the split, `*` for the folder of every video) replace the table; SegDINO's own
    (`image`, `mask`) and None name none. Raises InputError where one folder of images has several of masks.
    """
    image_dir, mask_dir = _named_dir(image_dir, SEGDINO.image_dir), _named_dir(mask_dir, SEGDINO.mask_dir)
    if image_dir is not None and (Path(image_dir).is_absolute() or ".." in Path(image_dir).parts):
        raise InputError(f"--image-dir: {image_dir} is not inside {directory}: name the data set's folder with --data")
    if not directory.is_dir():
        return []
    if image_dir is not None or mask_dir is not None:
        return _search(directory, named(image_dir, mask_dir), masks_needed=False)
    return _search(directory, [SEGDINO], masks_needed=False) or _search(directory, OTHERS, masks_needed=True)


def choose_place(directory: Path, places: Sequence[Place], prefer: str) -> Place:
    """The split `prefer`, or the only one. Raises InputError where there are several and one must be named."""
    chosen = [place for place in places if place.split.lower() == prefer] or list(places)
    if len(chosen) == 1:
        return chosen[0]
    if len({place.split for place in chosen}) == len(chosen):
        how = f" with --image-dir {chosen[0].layout.image_dir}" if len({p.folder for p in chosen}) == 1 else ""
        raise InputError(f"{directory}: has the splits {', '.join(place.split for place in chosen)}: name one{how}")
    found = " and ".join((place.folder.relative_to(directory) / place.layout.image_dir).as_posix() for place in chosen)
    raise InputError(f"{directory}: has images in {found}: name one folder, or --image-dir and --mask-dir")


def _search(directory: Path, layouts: Sequence[Layout], masks_needed: bool) -> list[Place]:
    inner = _sub_folders(directory)
    for folders in ([directory], inner):
        places = [
            place
            for folder in folders
            for place in _places_in(folder, layouts, "" if folder == directory else folder.name, masks_needed)
        ]
        # A split without masks is one only beside a split that has them: it must not be replaced by the other.
        fitting = [place.layout for place in places if place.has_masks or not masks_needed]
        if fitting:
            names = {layout.name for layout in fitting}
            image_dirs = {layout.image_dir for layout in fitting}
            return [p for p in places if p.layout.name in names or p.layout.image_dir in image_dirs]
    alone = len(inner) == 1 and not any(map(_is_image, directory.iterdir()))
    return _search(inner[0], layouts, masks_needed) if alone else []


def _named_dir(name: str | None, default: str) -> str | None:
    stripped = None if name is None else name.rstrip("/")
    return None if stripped == default else stripped


def _places_in(folder: Path, layouts: Iterable[Layout], around: str, masks_needed: bool) -> list[Place]:
    """`around`: name of the folder where it stands for a split."""
    found: dict[str, list[tuple[str, Layout]]] = {}
    for layout in layouts:
        for split, spelled in layout.spelled():
            if _folders(folder, spelled.image_dir):
                found.setdefault(spelled.image_dir, []).append((split or around, spelled))
    places = []
    for image_dir, candidates in found.items():
        masks = _with_masks(folder, candidates, masks_needed)
        if len(masks) > 1:
            names = " and in ".join(f"{layout.mask_dir}/" for _, layout in masks)
            raise InputError(f"{folder / image_dir}: has masks in {names}: name one with --mask-dir")
        split, layout = (masks or candidates)[0]
        places.append(Place(layout, folder, split, bool(masks)))
    return places


def _with_masks(folder: Path, candidates: Sequence[tuple[str, Layout]], masks_needed: bool) -> list[tuple[str, Layout]]:
    """Those whose folder of masks holds images. An empty one counts where there is no other: pairing refuses it.

    A folder of the table that holds other things is none of masks: `labels` with boxes in text files, say.
    """
    existing = {index: _folders(folder, layout.mask_dir) for index, (_, layout) in enumerate(candidates)}
    existing = {index: folders for index, folders in existing.items() if folders}
    holding = [index for index, folders in existing.items() if any(map(_is_image, _files(folders)))]
    empty = [index for index, folders in existing.items() if not masks_needed or not any(_files(folders))]
    return [candidates[index] for index in holding or empty]


def _folders(folder: Path, name: str) -> list[tuple[str, Path]]:
    if EVERY not in name:
        return [("", folder / name)] if (folder / name).is_dir() else []
    before, _, after = name.partition(f"{EVERY}/")
    videos = [video for video in _sub_folders(folder / before) if (video / after).is_dir()]
    if any(video.name.lower() in SPLIT_NAMES for video in videos):
        return []
    return [(video.name, video / after) for video in videos]


def _sub_folders(folder: Path) -> list[Path]:
    """In order, without hidden ones and what macOS adds to archives."""
    if not folder.is_dir():
        return []
    try:
        with os.scandir(folder) as entries:  # of many images none is looked at
            names = [entry.name for entry in entries if entry.is_dir()]
    except PermissionError:  # of the file system's own, lost+found say: as for rglob, there is nothing in it
        return []
    return [folder / name for name in sorted(names) if not name.startswith(".") and name != "__MACOSX"]


def _files(folders: Sequence[tuple[str, Path]]) -> Iterator[Path]:
    return (entry for _, folder in folders for entry in folder.rglob("[!.]*") if entry.is_file())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES
