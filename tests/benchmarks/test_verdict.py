"""Verdicts against a budget, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segdino_deploy.benchmarks.accuracy.image import compare_image, score_image
from segdino_deploy.benchmarks.accuracy.summary import summarise_accuracy
from segdino_deploy.benchmarks.result import Accuracy, Interval, Row
from segdino_deploy.benchmarks.verdict import judge, require_kept
from segdino_deploy.errors import CheckFailed, InputError
from tests.benchmarks.report.example import make_example

PerImage = dict[str, list[float | None]]


def rows(reference: PerImage, **engines: PerImage) -> list[Row]:
    """Rows of which nothing but the accuracy is known."""
    return [row("reference", reference, reference)] + [
        row(name, per_image, reference) for name, per_image in engines.items()
    ]


def row(name: str, per_image: PerImage, reference: PerImage) -> Row:
    accuracy = Accuracy(per_image=per_image, summary=summarise_accuracy(per_image, reference))
    return Row.model_construct(name=name, accuracy=accuracy)


def test_with_truth_the_drop_is_in_dice_points_and_the_estimate_decides() -> None:
    reference: PerImage = {"dice": [0.9, 0.8, 0.7, 0.6] * 5}
    slight: PerImage = {"dice": [0.9, 0.8, 0.7, 0.596] * 5}  # 0.1 points of the mean
    broken: PerImage = {"dice": [0.5, 0.4, 0.3, 0.2] * 5}

    passed, failed = judge(rows(reference, slight=slight, broken=broken), budget=0.5)

    assert (passed.engine, passed.passed, passed.unit, passed.budget) == ("slight", True, "Dice points", 0.5)
    assert passed.drop == pytest.approx(0.1)
    assert not failed.passed
    assert failed.drop == pytest.approx(40)
    assert failed.interval is not None
    assert (failed.interval.low, failed.interval.high) == pytest.approx((40, 40))
    assert failed.detail == (
        "broken drops by 40.000 Dice points (95% interval 40.000 to 40.000) over 20 images, more than the budget of 0.5"
    )


def test_where_the_interval_passes_the_budget_the_sentence_says_so() -> None:
    reference: PerImage = {"dice": [0.9, 0.9, 0.9, 0.9] * 5}
    engine: PerImage = {"dice": [0.9, 0.9, 0.9, 0.86] * 5}  # 1 point of the mean; other draws have up to 4

    verdict = judge(rows(reference, engine=engine), budget=1.5)[0]

    assert verdict.passed
    assert verdict.interval is not None and verdict.interval.high > 1.5
    assert "within the budget of 1.5, but the interval passes it: these images cannot settle it" in verdict.detail
    assert judge(rows(reference, engine=engine), budget=5)[0].detail.endswith("over 20 images, within the budget of 5")


def test_a_gain_is_a_negative_drop_and_keeps_every_budget() -> None:
    verdict = judge(rows({"dice": [0.5, 0.5] * 5}, engine={"dice": [0.6, 0.7] * 5}), budget=0)[0]

    assert verdict.passed
    assert verdict.drop == pytest.approx(-15)
    assert verdict.interval is not None
    assert (verdict.interval.low, verdict.interval.high) == pytest.approx(
        (-18, -12)
    )  # of ten, 8 with the larger gain or 2


def test_an_engine_that_equals_the_reference_keeps_a_budget_of_nothing() -> None:
    same: PerImage = {"dice": [0.1, 0.7, 0.3] * 10}

    verdict = judge(rows(same, engine=dict(same)), budget=0)[0]

    assert verdict.passed and verdict.drop == 0
    assert verdict.interval == Interval(low=0, high=0)
    assert verdict.detail == (
        "engine drops by 0.000 Dice points (95% interval 0.000 to 0.000) over 30 images, within the budget of 0"
    )


def test_without_truth_the_drop_is_in_pixels_that_changed() -> None:
    reference: PerImage = {"agreement": [1.0] * 6, "band_agreement": [1.0, None] * 3}
    engine: PerImage = {"agreement": [0.998] * 6, "band_agreement": [0.5, None] * 3}

    verdict = judge(rows(reference, engine=engine), budget=0.1)[0]

    assert (verdict.passed, verdict.unit) == (False, "% of pixels changed")
    assert verdict.drop == pytest.approx(0.2)
    assert verdict.detail.startswith("engine changes 0.200% of the pixels (95% interval 0.200 to 0.200) over 6 images")
    assert verdict.detail.endswith("more than the budget of 0.1% of pixels")


def test_of_several_heads_the_one_that_agrees_least_is_judged() -> None:
    ones: list[float | None] = [1.0, 1.0]
    reference: PerImage = {"polyp:agreement": ones, "tool:agreement": ones, "tool:band_agreement": ones}
    engine: PerImage = {"polyp:agreement": ones, "tool:agreement": [0.98, 0.96], "tool:band_agreement": [0.1, 0.1]}

    verdict = judge(rows(reference, engine=engine), budget=1)[0]

    assert verdict.drop == pytest.approx(3)
    assert "3.000% of the pixels of head tool" in verdict.detail


def test_with_truth_the_heads_that_have_none_are_judged_by_their_pixels() -> None:
    ones: list[float | None] = [1.0] * 6
    reference: PerImage = {"dice": [0.8] * 6, "polyp:agreement": ones, "tool:agreement": ones, "lesion:agreement": ones}
    engine: PerImage = reference | {"polyp:agreement": [0.9] * 6, "tool:agreement": [0.7] * 6}

    scored, other = judge(rows(reference, engine=engine), budget=0.5, scored_head="polyp")

    assert (scored.passed, scored.head, scored.unit) == (
        True,
        "polyp",
        "Dice points",
    )  # whose pixels are its own affair
    assert (other.passed, other.head, other.unit) == (False, "tool", "% of pixels changed")
    assert other.drop == pytest.approx(30)
    assert "changes 30.000% of the pixels of head tool" in other.detail
    assert other.detail.endswith("more than the budget of 0.5% of pixels")


def test_a_reference_that_finds_nothing_passes_no_engine() -> None:
    nothing: PerImage = {"dice": [0.0, 0.1] * 10, "agreement": [1.0] * 20}

    verdict = judge(rows(nothing, engine={**nothing, "agreement": [0.4] * 20}), budget=0.5)[0]

    assert verdict.drop == 0
    assert not verdict.passed and not verdict.is_judged
    assert "the reference's own mean Dice is 0.050, so the budget of 0.5 cannot be judged" in verdict.detail
    assert all(option in verdict.detail for option in ("--foreground", "--head", "--mask-dir"))
    enough: PerImage = {"dice": [0.1] * 20}
    assert judge(rows(enough, engine=enough), budget=0.5)[0].passed


@pytest.mark.parametrize(
    ("images", "ending"),
    [
        (1, ", but one image cannot settle it"),
        (5, ", but so few images cannot settle it"),
        (19, ", but so few images cannot settle it"),
        (20, "over 20 images, within the budget of 1"),
    ],
)
def test_few_images_settle_nothing(images: int, ending: str) -> None:
    same: PerImage = {"dice": [0.9] * images}

    verdict = judge(rows(same, engine=same), budget=1)[0]

    assert (verdict.passed, verdict.images) == (True, images)
    assert (verdict.interval is None) == (images < 6)
    assert verdict.detail.endswith(ending)


def test_a_budget_that_nothing_was_judged_by_is_an_error_with_the_reasons() -> None:
    result = make_example().result
    alone = result.model_copy(update={"rows": result.rows[:1], "verdicts": []})

    with pytest.raises(CheckFailed, match=r"no engine was judged: tensorrt-fp16 was not run here .*not installed"):
        require_kept(alone)
    with pytest.raises(CheckFailed, match=r"tissue\.segdino has no engine: build one with build-engine"):
        require_kept(alone.model_copy(update={"not_run": {}}))
    require_kept(make_example(has_budget=False).result)


def test_a_missed_budget_is_an_error_in_the_words_of_its_verdict_and_names_who_was_not_judged() -> None:
    result = make_example().result
    failed = next(verdict for verdict in result.verdicts if not verdict.passed)

    with pytest.raises(CheckFailed) as caught:
        require_kept(result)

    assert str(caught.value) == f"--max-drop: {failed.detail}; not judged, as not run here: tensorrt-fp16"
    passed = [verdict for verdict in result.verdicts if verdict.passed]
    require_kept(result.model_copy(update={"verdicts": passed}))  # what was not run fails no other's budget


def test_a_drop_that_equals_the_budget_keeps_it_whatever_the_rounding() -> None:
    assert 100 * (1 - 0.99998) > 0.002  # why this is not left to the arithmetic

    assert judge(rows({"agreement": [1.0]}, engine={"agreement": [0.99998]}), budget=0.002)[0].passed
    assert not judge(rows({"agreement": [1.0]}, engine={"agreement": [0.99997]}), budget=0.002)[0].passed


def test_one_image_has_no_interval_and_settles_nothing() -> None:
    verdict = judge(rows({"dice": [0.9]}, engine={"dice": [0.9]}), budget=1)[0]

    assert verdict.passed and verdict.interval is None
    assert verdict.detail == "engine drops by 0.000 Dice points over 1 image, within the budget of 1, " + (
        "but one image cannot settle it"
    )


def test_images_where_one_side_has_no_dice_are_left_out() -> None:
    verdict = judge(rows({"dice": [0.9, 0.8, None]}, engine={"dice": [0.7, None, math.nan]}), budget=50)[0]

    assert verdict.drop == pytest.approx(20)
    assert "over 1 image," in verdict.detail


def test_without_anything_to_compare_there_is_no_verdict() -> None:
    for nothing in ({"dice": [None, math.nan]}, {"agreement": []}, {"band_agreement": [1.0]}):
        with pytest.raises(InputError, match="engine has no image that can be compared"):
            judge(rows({"dice": [0.9, 0.9]}, engine=nothing), budget=1)


def test_a_budget_needs_images() -> None:
    without = Row.model_construct(name="reference", accuracy=None)

    with pytest.raises(InputError, match="--max-drop: needs images: name them with --data"):
        judge([without, without], budget=1)


@pytest.mark.parametrize("budget", [math.nan, math.inf, -1.0])
def test_a_budget_is_a_number_from_zero_on(budget: float) -> None:
    with pytest.raises(InputError, match="--max-drop"):
        judge(rows({"dice": [0.9]}, engine={"dice": [0.9]}), budget)


def test_the_interval_is_the_one_of_the_reported_difference() -> None:
    generator = np.random.default_rng(0)
    reference: PerImage = {"dice": list(generator.uniform(0.6, 0.9, 30))}
    engine: PerImage = {"dice": list(generator.uniform(0.5, 0.9, 30))}
    judged = rows(reference, engine=engine)

    verdict = judge(judged, budget=1)[0]

    assert judged[1].accuracy is not None and verdict.interval is not None
    reported = judged[1].accuracy.summary["dice"].difference_interval
    assert reported is not None
    assert (verdict.interval.low, verdict.interval.high) == pytest.approx((-100 * reported.high, -100 * reported.low))


def test_a_head_that_finds_nothing_fails_with_truth_and_without() -> None:
    """The defect of an engine whose channel is zeroed: every mask empty."""
    generator = np.random.default_rng(0)
    truths = [(generator.random((16, 16)) < 0.3).astype(np.uint8) for _ in range(5)]
    empty = np.zeros((16, 16), np.uint8)

    def scored(masks: list[np.ndarray]) -> PerImage:
        each = [score_image(mask, truth, ["polyp"]) for mask, truth in zip(masks, truths, strict=True)]
        return {key: [metrics[key] for metrics in each] for key in each[0]}

    def compared(masks: list[np.ndarray]) -> PerImage:
        each = [compare_image(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
        return {key: [metrics[key] for metrics in each] for key in each[0]}

    with_truth = judge(rows(scored(truths), zeroed=scored([empty] * 5)), budget=1)[0]
    without = judge(rows(compared(truths), zeroed=compared([empty] * 5)), budget=1)[0]

    assert not with_truth.passed and with_truth.drop == pytest.approx(100, abs=1e-3)
    assert not without.passed and without.drop == pytest.approx(100 * np.mean(truths))
