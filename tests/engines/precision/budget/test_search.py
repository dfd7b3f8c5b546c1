"""The search on a model whose losses are known: each group in int8 turns a known number of pixels."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import pytest
from onnx import helper

from segdino_deploy.benchmarks.accuracy.agreement import boundary_band
from segdino_deploy.engines.build.contract import RunImage
from segdino_deploy.engines.precision.budget import search as search_module
from segdino_deploy.engines.precision.budget.held_out import HeldOut
from segdino_deploy.engines.precision.budget.record import Loss, Point, Sensitivity
from segdino_deploy.engines.precision.budget.report import pareto_front
from segdino_deploy.engines.precision.budget.search import ALL_INT8, Search, fastest, fp32_order, recommend
from segdino_deploy.manifest import ModelCard
from tests.engines.calibration.test_images import card as calibration_card

SIDE = 100  # an image has 10,000 pixels: one of them is 0.01%
PIXELS = {"blocks.0.qkv": 1, "blocks.0.fc2": 40, "blocks.1.qkv": 2, "blocks.1.fc2": 15, "head.out": 5}
WORK = {"blocks.0.qkv": 30, "blocks.0.fc2": 10, "blocks.1.qkv": 30, "blocks.1.fc2": 10, "head.out": 5}


def card() -> ModelCard:
    return calibration_card().model_copy(update={"input_size": (SIDE, SIDE)})


def turned(pixels: int) -> np.ndarray:
    """An empty mask with its first pixels turned."""
    mask = np.zeros(SIDE * SIDE, np.uint8)
    mask[:pixels] = 1
    return mask.reshape(1, SIDE, SIDE)


def model_of(floats: Collection[str]) -> onnx.ModelProto:
    """A stand-in that says by its name which groups are in fp32."""
    return helper.make_model(helper.make_graph([], ",".join(sorted(floats)) or "none", [], []))


def open_model(model: onnx.ModelProto) -> RunImage:
    floats = model.graph.name.split(",")
    count = sum(pixels for group, pixels in PIXELS.items() if group not in floats)
    return lambda _image: {"mask": turned(count)}


def search(max_drop: float, pixels: Mapping[str, int] = PIXELS) -> Search:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    held_out = HeldOut(card(), [image], card().heads[0], [], ["0"], {"": [turned(0)[0]]})
    return Search(model_of, open_model, list(pixels), WORK, held_out, max_drop, is_timed=False)


def test_groups_become_fp32_by_what_they_lose_for_the_time_they_save() -> None:
    # pixels per unit of work: fc2 4 and 1.5, head 1, qkv 0.033 and 0.067
    sensitivities, _ = search(1.0).run({})

    assert fp32_order(sensitivities) == ["blocks.0.fc2", "blocks.1.fc2", "head.out", "blocks.1.qkv", "blocks.0.qkv"]
    assert {s.group: s.loss.changed_percent for s in sensitivities} == pytest.approx(
        {group: pixels / 100 for group, pixels in PIXELS.items()}
    )


@pytest.mark.parametrize(
    ("max_drop", "expected"),
    [
        (1.0, set()),  # all int8 turns 63 pixels, 0.63%
        (0.25, {"blocks.0.fc2"}),  # 23 left
        (0.09, {"blocks.0.fc2", "blocks.1.fc2"}),  # 8 left
        (0.03, {"blocks.0.fc2", "blocks.1.fc2", "head.out"}),  # 3 left
    ],
)
def test_the_plan_has_no_more_groups_in_fp32_than_the_budget_asks_for(max_drop: float, expected: set[str]) -> None:
    _, points = search(max_drop).run({})

    chosen = fastest(points, WORK)
    assert chosen is not None
    assert set(chosen.floats) == expected
    assert chosen.loss.drop <= max_drop


def test_a_group_that_need_not_be_fp32_after_all_is_taken_back() -> None:
    # With so little work in the head (5 pixels per unit) it comes before blocks.0.fc2 (4). Within 0.25% the shortest
    # beginning of the order is both (18 pixels left), but blocks.0.fc2 alone is enough (23 left).
    found = search(0.25)
    found.multiply_adds = {**WORK, "head.out": 1}

    _, points = found.run({})

    chosen = fastest(points, WORK)
    assert chosen is not None and chosen.floats == ["blocks.0.fc2"]


def test_no_plan_keeps_a_budget_of_nothing() -> None:
    _, points = search(0.0).run({})

    assert fastest(points, WORK) is None
    assert recommend(None, points) == "allow more with --max-drop"
    assert all(len(point.floats) < len(PIXELS) for point in points)  # a plan without int8 is no int8 plan


def test_where_int8_saves_no_time_at_all_a_plan_still_has_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    def equally_fast(runs: Mapping[str, object], *_: object, **__: object) -> dict[str, list[float]]:
        return {name: [1.0, 1.0, 1.0] for name in runs}

    monkeypatch.setattr(search_module, "interleave", equally_fast)
    timed = search(1.0)
    timed.is_timed = True
    sensitivities, points = timed.run({})

    assert all(entry.saved == 0 for entry in sensitivities)
    assert all(len(point.floats) < len(PIXELS) for point in points if point.is_plan)


def point(name: str, ms: float | None, drop: float, *, is_plan: bool = True, meets: bool = True) -> Point:
    loss = Loss(changed_percent=drop, changed_in_band_percent=0)
    return Point(name=name, loss=loss, median_ms=ms, meets_budget=meets, is_plan=is_plan)


def test_the_fastest_plan_within_the_budget_is_chosen_by_measured_time() -> None:
    points = [point(ALL_INT8, 10, 0.5, meets=False), point("a", 12, 0.1), point("b", 11, 0.2), point("fp16", 9, 0.0)]
    points[3] = points[3].model_copy(update={"is_plan": False})

    chosen = fastest(points, None)

    assert chosen is not None and chosen.name == "b"
    assert recommend(chosen, points) == "fp16 is faster here (9.0 against 11.0 ms) and loses less: use it"
    assert "1.50 times as fast as fp16" in recommend(
        chosen, [*points[:3], point("fp16", 16.5, 0.0, is_plan=False), point("fp32", 20, 0.0, is_plan=False)]
    )


def test_the_pareto_front_holds_what_nothing_beats_in_both() -> None:
    points = [point("slow", 30, 0.0), point("best", 10, 0.3), point("beaten", 20, 0.4), point("middle", 15, 0.1)]

    assert [p.name for p in pareto_front(points)] == ["best", "middle", "slow"]


def test_a_group_that_saves_nothing_is_first_to_be_fp32() -> None:
    def entry(group: str, changed: float, saved: float) -> Sensitivity:
        loss = Loss(changed_percent=changed, changed_in_band_percent=0)
        return Sensitivity(group=group, loss=loss, saved=saved)

    assert fp32_order([entry("a", 0.2, 4.0), entry("b", 0.1, -1.0)]) == ["b", "a"]


def test_loss_counts_changed_pixels_and_those_near_a_boundary_apart() -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, 50:] = 1
    band = boundary_band(mask)
    # three pixels to each side of the edge between columns 49 and 50
    assert band[50].nonzero()[0].tolist() == [47, 48, 49, 50, 51, 52]
    held_out = HeldOut(card(), [np.zeros((SIDE, SIDE, 3), np.uint8)], card().heads[0], [], ["0"], {"": [mask]})
    changed = mask.copy()
    changed[0, 49] = 1  # in the band, of 600 pixels
    changed[0, 10] = 1  # far from it

    loss = held_out.loss(lambda _image: {"mask": changed[None]})

    assert loss.changed_percent == pytest.approx(100 * 2 / 10_000)
    assert loss.changed_in_band_percent == pytest.approx(100 / 600)
    assert loss.drop == loss.changed_percent


def test_with_masks_the_drop_is_in_dice_points() -> None:
    truth = np.zeros((SIDE, SIDE), np.uint8)
    truth[:10, :10] = 1  # 100 pixels
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    held_out = HeldOut(card(), [image], card().heads[0], [truth], ["0"], {"": [truth]})
    half = truth.copy()
    half[:5] = 0

    loss = held_out.loss(lambda _image: {"mask": half[None]})

    # Dice 2 * 50 / (50 + 100) = 2/3 against 1: a third, in points of 0.01
    assert loss.drop == pytest.approx(100 / 3, abs=1e-3)
    assert loss.dice == pytest.approx(2 / 3, abs=1e-4)
