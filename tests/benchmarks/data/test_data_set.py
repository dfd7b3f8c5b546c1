"""Whether two runs scored the same files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.data.data_set import digest, open_data_set, sample_digests
from segdino_deploy.errors import InputError
from tests.benchmarks.data.trees import write_image, write_mask, write_tree

TREE: dict[str, str | None] = {"test/image/a.jpg": "test/mask/a.png", "test/image/b.jpg": "test/mask/b.png"}


def digest_of(directory: Path) -> str:
    data = open_data_set(directory)
    return digest(data, sample_digests(data))


def test_every_sample_is_known_by_the_contents_of_image_and_mask(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    counts: list[tuple[int, int]] = []

    found = sample_digests(open_data_set(tmp_path), lambda done, total: counts.append((done, total)))

    for digest_of_sample, stem in zip(found, "ab", strict=True):
        contents = [
            (tmp_path / f"test/{kind}/{stem}.{end}").read_bytes() for kind, end in (("image", "jpg"), ("mask", "png"))
        ]
        lines = "".join(f"{hashlib.sha256(content).hexdigest()}\n" for content in contents)
        assert digest_of_sample == hashlib.sha256(lines.encode()).hexdigest()
    assert counts == [(1, 2), (2, 2)]


def test_the_digest_tells_images_masks_and_names_apart_but_not_places(tmp_path: Path) -> None:
    for name in ("one", "elsewhere", "image", "mask", "renamed", "more"):
        write_tree(tmp_path / name, TREE)
    write_image(tmp_path / "image" / "test" / "image" / "a.jpg", (8, 8))
    write_mask(tmp_path / "mask" / "test" / "mask" / "a.png").write_bytes(b"other")
    for kind, suffix in (("image", ".jpg"), ("mask", ".png")):
        path = tmp_path / "renamed" / "test" / kind / f"a{suffix}"
        path.rename(path.with_stem("c"))
    write_tree(tmp_path / "more", {"test/image/c.jpg": "test/mask/c.png"})

    one = digest_of(tmp_path / "one")

    assert digest_of(tmp_path / "elsewhere") == one
    others = {digest_of(tmp_path / name) for name in ("image", "mask", "renamed", "more")}
    assert len(others | {one}) == 5


def test_images_without_masks_and_masks_elsewhere_have_a_digest(tmp_path: Path) -> None:
    write_image(tmp_path / "plain" / "a.png")
    write_mask(tmp_path / "drawn" / "a.png")

    alone = digest_of(tmp_path / "plain")
    write_tree(tmp_path / "photos", {"image/a.png": None})
    data = open_data_set(tmp_path / "photos", None, "../drawn")
    beside = digest(data, sample_digests(data))

    assert len({alone, beside}) == 2


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    data = open_data_set(tmp_path)
    (tmp_path / "test" / "mask" / "b.png").unlink()

    with pytest.raises(InputError, match=r"b\.png: cannot be read"):
        sample_digests(data)


def test_every_sample_has_a_digest_of_what_its_files_hold(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    image, mask = (tmp_path / "test" / name for name in ("image/a.jpg", "mask/a.png"))
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (image, mask)]

    of_a, of_b = sample_digests(open_data_set(tmp_path))

    assert of_a == hashlib.sha256("{}\n{}\n".format(*contents).encode()).hexdigest()
    for path in (image, mask):
        path.rename(path.with_stem("c"))
    assert sample_digests(open_data_set(tmp_path)) == [of_b, of_a]
    write_mask(mask.with_stem("c")).write_bytes(b"drawn anew")
    assert sample_digests(open_data_set(tmp_path))[0] == of_b
    assert sample_digests(open_data_set(tmp_path))[1] != of_a


def test_an_image_has_another_digest_without_its_mask(tmp_path: Path) -> None:
    write_tree(tmp_path / "scored", {"image/a.png": "mask/a.png"})
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.png").write_bytes((tmp_path / "scored" / "image" / "a.png").read_bytes())

    assert sample_digests(open_data_set(tmp_path / "scored")) != sample_digests(open_data_set(tmp_path / "plain"))
