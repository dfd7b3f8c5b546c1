"""Models that int8 by smallest and largest value spoils: outlier channels after norms, massive residual channels.

Measured with the small MRI model at 128x128 (share of the test images' pixels that keep fp32's class; openvino,
onnxruntime, tensorrt). Outliers after norms: plain 0.9948, 0.9949, 0.9944; conditioned 0.9990, 0.9994, 0.9993.
Massive channels: plain 0.9978, 0.9979, 0.9978; conditioned 0.9996, 0.9998, 0.9999; fp16 0.99999.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from segdino_deploy import export_model
from segdino_deploy.engines.precision.half import make_half_model
from segdino_deploy.engines.precision.int8.model import calibrate, condition, respell
from segdino_deploy.engines.precision.int8.targets import TARGETS
from segdino_deploy.evidence import mask_agreement
from segdino_deploy.export.graph import load_onnx, read_card
from segdino_deploy.export.options import IMAGENET_MEAN, IMAGENET_STD, ExportOptions
from segdino_deploy.images import list_images
from segdino_deploy.model.checkpoint import load_segdino
from tests.conftest import EXAMPLE
from tests.engines.precision.int8.constructed import (
    evenly_spread,
    input_deviations,
    with_graph_norm_outliers,
    with_massive_channels,
    with_norm_outliers,
)
from tests.engines.precision.int8.helpers import Images, constants_of, naive_int8, run

CHECKPOINT = EXAMPLE / "small_v1_convt.pth"
SIZE = (128, 128)
WIDTH = 96
Make = Callable[[str], onnx.ModelProto]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`norms` (outliers in the checkpoint), `graph_norms` (in the exported graph), `massive`."""

    @cache
    def get(kind: str) -> onnx.ModelProto:
        if kind == "graph_norms":
            return with_graph_norm_outliers(get("norms"), evenly_spread(8, WIDTH), 50.0)
        path = tmp_path_factory.mktemp(kind)
        torch.save(constructed_state(kind), path / "checkpoint.pth")
        export_model(path / "checkpoint.pth", path / "b.segdino", ExportOptions(SIZE, outputs=("mask", "logits")))
        return load_onnx(path / "b.segdino" / "model.onnx")

    return get


def constructed_state(kind: str) -> dict[str, Tensor]:
    model = load_segdino(CHECKPOINT)
    if kind == "norms":
        return with_norm_outliers(model.state_dict(), evenly_spread(8, WIDTH), 50.0)
    up, down = evenly_spread(2, WIDTH)
    images = normalised(torch.from_numpy(smaller("train")[::3]))
    return with_massive_channels(model.state_dict(), input_deviations(model, images), {up: 500.0, down: -500.0})


@cache
def smaller(split: str) -> Images:
    """The images of a split at the model's size."""
    from PIL import Image

    files = list_images(EXAMPLE / split / "image")
    return np.stack(
        [np.asarray(Image.open(f).convert("RGB").resize(SIZE[::-1], Image.Resampling.BICUBIC)) for f in files]
    )


def normalised(pixels: Tensor) -> Tensor:
    mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD]).view(2, 3, 1, 1)
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def masks(model: onnx.ModelProto) -> np.ndarray:
    return (run(model, smaller("test")) > 0).astype(np.uint8)


def both(model: onnx.ModelProto, backend: str) -> tuple[float, float]:
    """Agreement with fp32 on the test images: by smallest and largest value alone, and as this package does it."""
    target, images = TARGETS[backend], smaller("train")
    batches = [image[None] for image in images]
    found, _ = calibrate(model, read_card(model, Path()), target, lambda: iter(batches), len(images), "minmax")
    ours = condition(model, target, found.channels, found.strengths).quantized(found.ranges, target)
    plain = naive_int8(respell(model, target), images, target)
    expected = masks(model)
    return mask_agreement(masks(plain), expected), mask_agreement(masks(ours), expected)


def test_outliers_of_norms_leave_the_function_as_it_was() -> None:
    original, changed = load_segdino(CHECKPOINT), load_segdino(CHECKPOINT)
    changed.load_state_dict(constructed_state("norms"))
    images = normalised(torch.from_numpy(smaller("test")[:3]))
    with torch.inference_mode():
        expected, found = original(images), changed(images)

    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_export_takes_outliers_of_gains_and_biases_out(make: Make) -> None:
    model = make("norms")
    constants = constants_of(model)
    for norm in (node for node in model.graph.node if node.op_type == "LayerNormalization"):
        assert (constants[norm.input[1]] == 1).all()
        assert not constants[norm.input[2]].any()


def test_outliers_of_a_checkpoints_norms_do_no_harm(make: Make) -> None:
    _, ours = both(make("norms"), "openvino")

    assert ours > 0.998


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "tensorrt"])
def test_outliers_after_norms_are_smoothed_where_plain_int8_misses(backend: str, make: Make) -> None:
    plain, ours = both(make("graph_norms"), backend)

    assert plain < 0.997
    assert ours > 0.998


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "tensorrt"])
def test_massive_residual_channels_are_smoothed_where_plain_int8_misses(backend: str, make: Make) -> None:
    plain, ours = both(make("massive"), backend)

    assert plain < 0.9985
    assert ours > 0.999


def test_massive_residual_channels_pass_through_fp16(make: Make) -> None:
    model = make("massive")
    half = make_half_model(model, "fp16", (image[None] for image in smaller("train")), "the train images")

    assert mask_agreement(masks(half.model), masks(model)) >= 0.9995
