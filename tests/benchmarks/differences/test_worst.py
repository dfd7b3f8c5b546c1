"""The choice of images that change most."""

from __future__ import annotations

from segdino_deploy.benchmarks.differences.worst import agreement_of, choose_worst, metrics_of, worst_head

IMAGES = ["a.png", "b.png", "c.png", "d.png", "e.png"]
PerImage = dict[str, list[float | None]]


def test_lowest_agreement_comes_first_and_unchanged_images_never() -> None:
    engine: PerImage = {"agreement": [0.99, 1.0, 0.95, 1.0, 0.97]}

    assert choose_worst(engine, engine, IMAGES, 10) == [2, 4, 0]
    assert choose_worst(engine, engine, IMAGES, 2) == [2, 4]
    assert choose_worst(engine, engine, IMAGES, 0) == []


def test_the_worst_head_decides() -> None:
    engine: PerImage = {
        "polyp:agreement": [0.99, 0.98, 1.0, 1.0, 1.0],
        "lesion:agreement": [0.90, 1.0, 1.0, 0.96, 1.0],
        "lesion:band_agreement": [0.1, 0.1, 0.1, 0.1, 0.1],
    }

    assert choose_worst(engine, engine, IMAGES, 5) == [0, 3, 1]
    assert agreement_of(engine, 0) == 0.90
    assert [worst_head(engine, index) for index in range(4)] == ["lesion", "polyp", "polyp", "lesion"]


def test_ties_go_to_the_larger_change_of_dice_then_to_the_name() -> None:
    agreement: list[float | None] = [0.9, 0.9, 0.9, 0.9, 0.9]
    reference: PerImage = {"agreement": [1.0] * 5, "dice": [0.8, 0.8, 0.8, 0.8, None]}
    engine: PerImage = {"agreement": agreement, "dice": [0.79, 0.9, 0.8, 0.8, 0.5]}  # changes: 0.01, 0.1, 0, 0, unknown

    assert choose_worst(engine, reference, IMAGES, 5) == [1, 0, 2, 3, 4]
    renamed = ["a", "b", "z", "d", "e"]
    assert choose_worst(engine, reference, renamed, 5) == [1, 0, 3, 4, 2]


def test_a_class_may_change_more_than_the_mean_of_all() -> None:
    reference: PerImage = {"dice": [0.8, 0.8], "dice/grey: a/b": [0.9, 0.9], "hd95": [1.0, 1.0]}
    engine: PerImage = {
        "agreement": [0.9, 0.9],
        "dice": [0.79, 0.8],
        "dice/grey: a/b": [0.9, 0.6],
        "hd95": [99.0, 1.0],  # counts for nothing here
    }

    assert choose_worst(engine, reference, ["a", "b"], 2) == [1, 0]


def test_an_image_without_a_measured_agreement_is_not_chosen() -> None:
    assert choose_worst({"agreement": [None, 0.5]}, {}, ["a", "b"], 2) == [1]
    assert worst_head({"agreement": [0.5]}, 0) == ""
    assert worst_head({}, 0) == ""


def test_metrics_of_one_image() -> None:
    assert metrics_of({"dice": [0.1, 0.2], "hd95": [3.0, None]}, 1) == {"dice": 0.2, "hd95": None}
