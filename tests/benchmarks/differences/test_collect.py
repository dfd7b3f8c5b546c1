"""Worst cases with their pictures, from runners whose masks are known: grey values above a threshold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.benchmarks.data.data_set import DataSet, open_data_set
from segdino_deploy.benchmarks.differences.collect import collect_worst
from segdino_deploy.benchmarks.differences.pictures import draw_disagreement
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.run.contract import Array, Runner
from segdino_deploy.images import overlay, read_rgb
from segdino_deploy.manifest import HeadCard, ModelCard

HW = (64, 96)
UInt8 = NDArray[np.uint8]
PerImage = dict[str, dict[str, list["float | None"]]]


class Thresholding(Runner):
    """Each head's mask is where the red value is above the head's threshold."""

    backend, precision, device = "onnxruntime", "fp32", "CPU"

    def __init__(self, card: ModelCard, **thresholds: int) -> None:
        super().__init__(card)
        self.thresholds = thresholds
        self.calls = 0

    def _run(self, image_nhwc: UInt8) -> dict[str, Array]:
        self.calls += 1
        return {
            name.replace("_", "."): (image_nhwc[..., 0] > t).astype(np.uint8) for name, t in self.thresholds.items()
        }


@pytest.fixture
def card(exported: Callable[[str], Path]) -> ModelCard:
    return Bundle.open(exported("v1_convt")).manifest.model


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    """Three ramps of grey values at the model's size, so that no filter changes them; masks are their right halves."""
    root = tmp_path / "data"
    for name, last in (("b", 190), ("a", 95), ("sub dir/ä", 95)):
        for folder in ("image", "mask"):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        ramp = np.broadcast_to(np.linspace(0, last, HW[1]).round().astype(np.uint8)[:, None], (*HW, 3)).copy()
        Image.fromarray(ramp[:, ::-1] if name == "a" else ramp).save(root / "image" / f"{name}.png")
        truth = np.zeros(HW, np.uint8)
        truth[:, HW[1] // 2 :] = 255
        Image.fromarray(truth).save(root / "mask" / f"{name}.png")
    return open_data_set(root)


def names_of(data: DataSet) -> list[str]:
    return [sample.image.relative_to(data.directory).as_posix() for sample in data.samples]


def test_cases_and_pictures_are_those_of_the_worst_images(card: ModelCard, data: DataSet, tmp_path: Path) -> None:
    runners = {
        "torch-fp32": Thresholding(card, mask=40),
        "engine": Thresholding(card, mask=44),
        "exact": Thresholding(card, mask=40),
    }
    names = names_of(data)
    assert names == ["image/a.png", "image/b.png", "image/sub dir/ä.png"]
    per_image: PerImage = {
        "torch-fp32": {"agreement": [1.0, 1.0, 1.0], "dice": [0.5, 0.5, 0.5]},
        "engine": {"agreement": [0.98, 1.0, 0.97], "dice": [0.5, 0.5, None]},
        "exact": {"agreement": [1.0, 1.0, 1.0], "dice": [0.5, 0.5, 0.5]},
    }
    steps: list[tuple[str, int, int]] = []
    report = tmp_path / "report"

    cases = collect_worst(runners, data, card.heads[0], None, per_image, 2, report, lambda *step: steps.append(step))

    assert {name: [case.image for case in found] for name, found in cases.items()} == {
        "engine": ["image/sub dir/ä.png", "image/a.png"],
        "exact": [],
    }
    worst = cases["engine"][0]
    assert (worst.agreement, worst.metrics) == (0.97, {"agreement": 0.97, "dice": None})
    assert worst.reference_metrics == {"agreement": 1.0, "dice": 0.5}
    assert worst.engine_picture == "images/engine/1-image_sub_dir_a-engine.png"
    image = read_rgb(data.samples[2].image)
    reference, engine = ((image[..., 0] > t).astype(np.uint8) for t in (40, 44))
    truth = np.zeros(HW, np.uint8)
    truth[:, 48:] = 1
    assert worst.truth_picture is not None
    for path, expected in (
        (worst.reference_picture, overlay(image, reference)),
        (worst.engine_picture, overlay(image, engine)),
        (worst.truth_picture, overlay(image, truth)),
        (worst.disagreement_picture, draw_disagreement(image, reference, engine, 1)),
    ):
        np.testing.assert_array_equal(read_rgb(report / path), expected)
    assert len(list(report.rglob("*.*"))) == 8
    assert steps == [("pictures", 1, 2), ("pictures", 2, 2)]
    assert [runner.calls for runner in runners.values()] == [2, 2, 0]  # nothing runs for images that are not shown


def test_one_image_shown_for_two_engines_is_run_once_by_the_reference(
    card: ModelCard, data: DataSet, tmp_path: Path
) -> None:
    runners = {name: Thresholding(card, mask=t) for name, t in (("reference", 40), ("one", 41), ("two", 42))}
    per_image: PerImage = {
        "reference": {"agreement": [1.0] * 3},
        "one": {"agreement": [1.0, 0.9, 0.95]},
        "two": {"agreement": [1.0, 0.8, 1.0]},
    }

    cases = collect_worst(runners, data, None, None, per_image, 5, tmp_path / "report")

    assert [len(found) for found in cases.values()] == [2, 1]
    assert runners["reference"].calls == 2
    assert all(case.truth_picture is None for found in cases.values() for case in found)


@pytest.mark.parametrize(("scored", "has_truth"), [("polyp", [False, True]), ("tissue", [True, False])])
def test_the_head_that_changes_most_is_shown(
    scored: str, has_truth: list[bool], joint: Path, data: DataSet, tmp_path: Path
) -> None:
    card = Bundle.open(joint).manifest.model
    head: HeadCard = next(head for head in card.heads if head.name == scored)
    for sample in data.samples:
        assert sample.mask is not None
        Image.fromarray(np.where(np.eye(*HW) > 0, 255 if head.num_classes == 1 else 2, 0).astype(np.uint8)).save(
            sample.mask
        )
    runners = {
        "reference": Thresholding(card, polyp_mask=40, tissue_mask=40),
        "engine": Thresholding(card, polyp_mask=50, tissue_mask=60),
    }
    same = {"polyp:agreement": [1.0] * 3, "tissue:agreement": [1.0] * 3}
    changed = {"polyp:agreement": [0.9, 0.7, 1.0], "tissue:agreement": [0.6, 0.8, 1.0]}

    first, second = collect_worst(
        runners, data, head, None, {"reference": same, "engine": changed}, 2, tmp_path / "report"
    )["engine"]

    assert (first.image, first.agreement, second.image, second.agreement) == ("image/a.png", 0.6, "image/b.png", 0.7)
    for case, threshold, classes in ((first, 60, 3), (second, 50, 1)):
        image = read_rgb(data.directory / case.image)
        reference, engine = ((image[..., 0] > t).astype(np.uint8) for t in (40, threshold))
        expected = draw_disagreement(image, reference, engine, classes)
        np.testing.assert_array_equal(read_rgb(tmp_path / "report" / case.disagreement_picture), expected)
    assert [case.truth_picture is not None for case in (first, second)] == has_truth
