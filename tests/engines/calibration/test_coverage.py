"""What is recorded and said of calibration images; expected shares are counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.engines.calibration.coverage import ClassCounter, Coverage, coverage_of, describe, warnings
from segdino_deploy.engines.calibration.images import Survey
from segdino_deploy.manifest import ModelCard
from tests.engines.calibration.test_images import card


def joint_card() -> ModelCard:
    polyp = card().heads[0].model_copy(update={"name": "polyp"})
    tissue = polyp.model_copy(update={"name": "tissue", "num_classes": 3, "class_names": ["none", "fat", "muscle"]})
    return card().model_copy(update={"heads": [polyp, tissue]})


def coverage(**changes: object) -> Coverage:
    given: dict[str, object] = {
        "images": 64,
        "unreadable": 0,
        "sizes": {"512x512": 64},
        "intensity_range": (0, 231),
        "classes": {"background": 0.8123, "white_matter": 0.1877},
    }
    return Coverage.model_validate(given | changes)


def test_one_class_is_counted_against_its_background_over_all_batches() -> None:
    counter = ClassCounter(card())
    counter.update({"": np.array([[[0, 1], [1, 1]], [[0, 0], [0, 0]]], np.uint8)})
    counter.update({"": np.zeros((1, 2, 1), np.uint8)})

    assert counter.shares() == {"background": 7 / 10, "polyp": 3 / 10}


def test_classes_of_several_heads_carry_the_names_of_their_heads() -> None:
    counter = ClassCounter(joint_card())
    counter.update({"polyp": np.zeros((1, 2, 2), np.uint8), "tissue": np.array([[[0, 2], [2, 2]]], np.uint8)})

    assert counter.shares() == {
        "polyp.background": 1.0,
        "polyp.polyp": 0.0,
        "tissue.none": 0.25,
        "tissue.fat": 0.0,
        "tissue.muscle": 0.75,
    }


@pytest.mark.parametrize("seed", range(4))
def test_the_intensity_range_is_that_of_the_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(90, 30, 5_001), 0, 255).astype(np.uint8)
    seen = Survey([Path("a.png")], {"b.png": "damaged"}, {"1x1667": 1}, np.bincount(pixels, minlength=256).tolist())

    record = coverage_of(seen, {"background": 1.0})

    assert record.intensity_range == tuple(np.percentile(pixels, [1, 99], method="inverted_cdf"))
    assert (record.images, record.unreadable) == (1, 1)


def test_the_record_survives_json() -> None:
    assert Coverage.model_validate_json(coverage().model_dump_json()) == coverage()


def test_one_line_says_what_the_images_show() -> None:
    assert describe(coverage()) == (
        "64 images (512x512: 64), intensities 0 to 231, classes seen: background 81.2%, white_matter 18.8%"
    )
    mixed = coverage(
        images=3, unreadable=2, sizes={"8x8": 1, "9x9": 2}, classes={"background": 0.9999, "a": 0.0001, "b": 0.0}
    )
    assert describe(mixed) == (
        "3 images (9x9: 2, 8x8: 1), 2 unreadable left out, intensities 0 to 231, "
        "classes seen: background 100.0%, a under 0.1%"
    )


def test_many_sizes_and_classes_stay_one_readable_line() -> None:
    sizes = {f"{index}x1": 1 for index in range(1, 31)}
    line = describe(coverage(images=1, sizes=sizes, classes={f"class{index}": 0.05 for index in range(20)}))

    assert line.startswith("1 image (1x1: 1, ") and "and 22 more)" in line and line.endswith("and 12 more")


def test_a_class_that_is_never_or_hardly_seen_is_warned_of() -> None:
    never, hardly = warnings(coverage(classes={"background": 0.99995, "polyp": 0.0, "vessel": 0.00005}))

    assert never == (
        "the class polyp was never seen by the fp32 model on the calibration images: add images that show it"
    )
    assert "the class vessel was seen on less than 0.01% of the pixels" in hardly
    assert warnings(coverage(classes={"background": 0.9999, "polyp": 0.0001})) == []


def test_a_narrow_intensity_range_is_warned_of() -> None:
    (line,) = warnings(coverage(intensity_range=(3, 40)))

    assert line.startswith("most of the intensity range was never seen (values lie between 3 and 40): ")
    assert warnings(coverage(intensity_range=(100, 164))) == []
