"""All metrics of one image: which there are, and what happens to those that are not defined."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from segdino_deploy.benchmarks.accuracy.distance import hd95
from segdino_deploy.benchmarks.accuracy.image import compare_image, score_image
from segdino_deploy.benchmarks.accuracy.scores import score
from segdino_deploy.benchmarks.metrics import METRICS, parse_key
from tests.benchmarks.accuracy.masks import PAIRS, SHAPE

CLASSES = ["background", "grey", "white", "fluid"]


def random_classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    truth = np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)
    mask = np.where(np.random.default_rng(seed + 1).random(SHAPE) < 0.2, 1, truth).astype(np.uint8)
    return mask, truth


def test_one_class_has_every_metric_that_needs_a_truth() -> None:
    mask, truth = (side.astype(np.uint8) for side in PAIRS["discs 0"])

    metrics = score_image(mask, truth, ["polyp"], np.full(mask.shape, 0.5, np.float32))

    assert list(metrics) == ["dice", "iou", "hd95", "accuracy", "f_beta", "ber", "mae"]
    assert set(metrics) | set(compare_image(mask, truth)) == set(METRICS)


def test_a_mask_alone_has_no_mae() -> None:
    mask, truth = (side.astype(np.uint8) for side in PAIRS["discs 0"])

    assert "mae" not in score_image(mask, truth, ["polyp"])  # it would be the share of wrong pixels once more


def test_mae_is_of_the_probability_where_it_is_known() -> None:
    truth = np.array([[0, 1]], np.uint8)

    metrics = score_image(truth, truth, ["polyp"], np.array([[0.25, 0.5]], np.float32))

    assert metrics["mae"] == pytest.approx((0.25 + 0.5) / 2)
    assert metrics["accuracy"] == 1


@pytest.mark.parametrize("name", PAIRS)
def test_metrics_are_finite_or_none(name: str) -> None:
    mask, truth = (side.astype(np.uint8) for side in PAIRS[name])

    metrics = score_image(mask, truth, ["polyp"])

    assert all(value is None or np.isfinite(value) for value in metrics.values())
    assert (metrics["hd95"] is None) == (mask.any() != truth.any())
    assert (metrics["ber"] is None) == (truth.all() or not truth.any())


@pytest.mark.parametrize("seed", range(4))
def test_several_classes_are_scored_each_and_as_scikit_learns_macro_mean(seed: int) -> None:
    mask, truth = random_classes(seed)
    labels = [1, 2, 3]

    metrics = score_image(mask, truth, CLASSES)

    f1 = f1_score(truth.ravel(), mask.ravel(), labels=labels, average=None, zero_division=1)
    jaccard = jaccard_score(truth.ravel(), mask.ravel(), labels=labels, average=None, zero_division=1)
    assert [metrics[f"dice/{name}"] for name in CLASSES[1:]] == pytest.approx(list(f1), abs=1e-6)
    assert [metrics[f"iou/{name}"] for name in CLASSES[1:]] == pytest.approx(list(jaccard), abs=1e-6)
    assert metrics["dice"] == pytest.approx(np.mean(f1), abs=1e-6)
    assert metrics["iou"] == pytest.approx(np.mean(jaccard), abs=1e-6)
    assert metrics["hd95"] == pytest.approx(np.mean([hd95(mask == label, truth == label) for label in labels]))
    assert metrics["accuracy"] == pytest.approx((mask == truth).mean())
    assert "dice/background" not in metrics and "ber" not in metrics and "mae" not in metrics


def test_the_macro_distance_is_over_the_classes_where_it_is_finite() -> None:
    truth = np.zeros((4, 8), np.uint8)
    truth[0, 0], truth[3, 7] = 1, 2
    mask = truth.copy()
    mask[0, 0], mask[0, 3] = 0, 1  # class 1 three pixels away
    mask[3, 7] = 0  # class 2 not found

    metrics = score_image(mask, truth, CLASSES)

    assert metrics["hd95/grey"] == 3
    assert metrics["hd95/white"] is None
    assert metrics["hd95/fluid"] == 0  # in neither
    assert metrics["hd95"] == 1.5
    assert metrics["dice"] == pytest.approx((0 + 0 + 1) / 3, abs=1e-5)

    nowhere = score_image(mask * 0, np.full_like(truth, 1), CLASSES[:2])
    assert nowhere["hd95"] is None


def test_means_over_images_are_those_of_stored_results() -> None:
    pairs = [random_classes(seed) for seed in range(5)]
    per_image = [score_image(mask, truth, CLASSES) for mask, truth in pairs]

    stored = score([mask for mask, _ in pairs], [truth for _, truth in pairs], CLASSES)

    for metric, expected in {"dice": stored.dice, "iou": stored.iou, "hd95": stored.hd95}.items():
        assert np.mean([metrics[metric] for metrics in per_image]) == pytest.approx(expected)


def test_every_key_has_a_label() -> None:
    metrics = score_image(*random_classes(0), CLASSES)

    assert all(METRICS[parse_key(key).metric].label for key in metrics)
    assert parse_key("dice/grey").full_label == "Dice, grey"


def test_what_cannot_be_compared_is_refused() -> None:
    mask = np.zeros((4, 4), np.uint8)

    with pytest.raises(ValueError, match="one size"):
        score_image(mask, mask[:2], ["polyp"])
    with pytest.raises(ValueError, match="one size"):
        compare_image(mask[None], mask[None])
    with pytest.raises(ValueError, match="one size"):
        score_image(mask, mask, ["polyp"], np.zeros((1, 4, 4), np.float32))
    with pytest.raises(ValueError, match="one class"):
        score_image(mask, mask, CLASSES, np.zeros((4, 4), np.float32))
