"""A result as a run would leave it, from random samples with a fixed seed, and small pictures of its worst cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from segdino_deploy.benchmarks.report.write import render_files
from segdino_deploy.benchmarks.result import (
    BenchResult,
    Data,
    Energy,
    Environment,
    Interval,
    LayerCosine,
    Layers,
    Row,
    Verdict,
    WorstCase,
)
from segdino_deploy.manifest import BackboneCard, BatchRange, CheckpointCard, HeadCard, ModelCard
from tests.benchmarks.report.example_numbers import (
    IMAGES,
    ROUNDS,
    Contestant,
    make_accuracy,
    make_per_image,
    make_samples,
    make_speed,
    make_start_up,
    make_throughput,
)
from tests.benchmarks.report.example_pictures import draw_pictures

HOSTILE = "<script>alert(1)</script>"
REFERENCE = "torch-fp32"
CLASSES = ("grey_matter", "white_matter", "lesion")
BUDGET = 0.5

CONTESTANTS = (
    Contestant(REFERENCE, "torch", "fp32", 83.0, 0, 0),
    Contestant("openvino-fp32", "openvino", "fp32", 54.0, 0, 0),
    Contestant("openvino-fp16", "openvino", "fp16", 52.5, 0.00001, 0.0002),
    Contestant("openvino-int8", "openvino", "int8", 28.0, 0.0012, 0.004),
    Contestant("onnxruntime-fp32", "onnxruntime", "fp32", 63.7, 0, 0),
    Contestant("onnxruntime-int8", "onnxruntime", "int8", 45.1, 0.021, 0.03),
)


@dataclass(frozen=True)
class Example:
    result: BenchResult
    pictures: dict[str, bytes]  # PNG by path in the report's folder


@cache
def make_example(*, has_truth: bool = True, has_budget: bool = True, class_name: str = CLASSES[2]) -> Example:
    """Five engines and their reference, three classes, 40 images, one engine that was not run.

    `class_name` is the third class's, and part of file names and of a receipt as well.
    """
    random = np.random.default_rng(7)
    classes = [*CLASSES[:2], class_name]
    images = [f"test/image/slice_{index:03}.png" for index in range(IMAGES - 1)] + [f"test/image/{class_name}.png"]
    samples = {entry.name: make_samples(entry, random) for entry in CONTESTANTS}
    base = {name: random.normal(0.89, 0.03, IMAGES).clip(0, 1) for name in classes}
    per_image = {entry.name: make_per_image(entry, base, has_truth, random) for entry in CONTESTANTS}
    pictures: dict[str, bytes] = {}
    rows = []
    for entry in CONTESTANTS:
        accuracy = make_accuracy(per_image[entry.name], per_image[REFERENCE], random)
        rows.append(
            Row(
                name=entry.name,
                backend=entry.backend,
                precision=entry.precision,
                device="Example CPU @ 2.00GHz",
                computes_in="bf16" if entry.precision == "int8" else None,
                speed=make_speed(samples[entry.name], samples[REFERENCE], random),
                throughput=[
                    make_throughput(entry, batch, callers, random) for batch, callers in ((1, 1), (1, 2), (4, 2))
                ],
                start_up=make_start_up(entry, random),
                peak_host_mib=200 + 4 * entry.ms,
                device_mib=None if entry.backend == "torch" else 120 + entry.ms,
                energy=Energy(joules_per_image=entry.ms * 0.041, source="RAPL package"),
                accuracy=accuracy,
                worst=_worst(entry, images, per_image, pictures, has_truth),
                layers=_layers() if entry.backend == "onnxruntime" and entry.precision == "int8" else None,
                no_layers="its model is not of the bundle" if entry.name == "openvino-int8" else "",
                receipt=_receipt(entry, class_name),
            )
        )
    result = BenchResult(
        tool_version="0.1.0",
        command="segdino-deploy bench tissue.segdino --reference vits16_v2.pth --data slices --max-drop 0.5 --layers",
        created="2026-11-26T08:00:00+00:00",
        bundle="tissue.segdino",
        model=make_card(classes),
        environment=Environment(
            machine="Example CPU @ 2.00GHz",
            system="Linux 6.1",
            threads=2,
            versions={"openvino": "2026.4.1", "onnxruntime": "1.32.0", "torch": "2.13.0", "python": "3.11.7"},
        ),
        rounds=ROUNDS,
        warmup=3,
        batch=1,
        reference=REFERENCE,
        reference_identity=f"{REFERENCE} 5f0c",
        data=Data(
            directory="slices",
            layout="split/image and split/mask",
            images=images,
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            has_masks=has_truth,
            scored_head="",
            class_names=classes if has_truth else [],
            foreground=None,
        ),
        rows=rows,
        budget=BUDGET if has_budget else None,
        verdicts=[_verdict(row, has_truth) for row in rows[1:]] if has_budget else [],
        not_run={
            "tensorrt-fp16": "TensorRT engines: tensorrt is not installed; pip install 'segdino-deploy[tensorrt]'"
        },
    )
    return Example(result, pictures)


@cache
def make_hostile() -> Example:
    """The same run of a bundle whose names are markup, wherever a name comes from outside."""
    example = make_example(class_name=HOSTILE)
    names: dict[str, object] = {
        "bundle": f"{HOSTILE}.segdino",
        "command": f"segdino-deploy bench '{HOSTILE}.segdino'",
        "not_run": {HOSTILE: f"{HOSTILE} is not installed"},
    }
    return Example(example.result.model_copy(update=names), example.pictures)


@cache
def render_example(is_hostile: bool) -> dict[str, bytes]:
    """The report's files of either, drawn once for all tests; needs the extra `report`."""
    example = make_hostile() if is_hostile else make_example()
    return render_files(example.result, example.pictures.__getitem__)


def make_minimal() -> BenchResult:
    """The reference alone on the canary: nothing that can be left out is there."""
    result = make_example().result
    speed = result.rows[0].speed.model_copy(update={"file_to_mask": None, "file_to_mask_ratio": None})
    nothing: dict[str, object] = {"accuracy": None, "energy": None, "worst": [], "throughput": [], "speed": speed}
    row = result.rows[0].model_copy(update=nothing)
    return result.model_copy(update={"data": None, "rows": [row], "budget": None, "verdicts": [], "not_run": {}})


def make_card(class_names: Sequence[str]) -> ModelCard:
    head = HeadCard(
        family="v2",
        num_classes=len(class_names) + 1,
        class_names=["background", *class_names],
        outputs=["mask"],
        threshold=0.5,
        taps=(2, 5, 8, 11),
        resize_filter="bilinear",
        checkpoint=CheckpointCard(name="vits16_v2.pth", sha256="0" * 64),
    )
    backbone = BackboneCard(embed_dim=384, depth=12, num_heads=6, ffn="mlp", ffn_hidden_dim=1536, num_registers=4)
    return ModelCard(
        heads=[head],
        input_size=(256, 256),
        batch=BatchRange(min=1, opt=1, max=1),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize_filter="bilinear",
        backbone=backbone,
    )


def _verdict(row: Row, has_truth: bool) -> Verdict:
    assert row.accuracy is not None
    summary = row.accuracy.summary["dice" if has_truth else "agreement"]
    assert summary.difference is not None and summary.difference_interval is not None
    drop = 0.0 - 100 * summary.difference
    passed = drop <= BUDGET
    interval = Interval(
        low=0.0 - 100 * summary.difference_interval.high, high=0.0 - 100 * summary.difference_interval.low
    )
    spread = f"(95% interval {interval.low:.3f} to {interval.high:.3f}) over {IMAGES} images"
    finding = (
        f"drops by {drop:.3f} Dice points {spread}" if has_truth else f"changes {drop:.3f}% of the pixels {spread}"
    )
    outcome = f"within the budget of {BUDGET:g}" if passed else f"more than the budget of {BUDGET:g}"
    return Verdict(
        engine=row.name,
        head="",
        passed=passed,
        is_judged=True,
        drop=drop,
        unit="Dice points" if has_truth else "% of pixels changed",
        budget=BUDGET,
        images=IMAGES,
        interval=interval,
        detail=f"{row.name} {finding}, {outcome}",
    )


def _worst(
    entry: Contestant,
    images: list[str],
    per_image: dict[str, dict[str, list[float | None]]],
    pictures: dict[str, bytes],
    has_truth: bool,
) -> list[WorstCase]:
    """The three images with the lowest agreement, the hostile one among them for engines that change anything."""
    values = per_image[entry.name]
    agreement = [value if value is not None else 1.0 for value in values["agreement"]]
    if entry.name == REFERENCE or min(agreement) == 1:
        return []
    order = [*[index for index in np.argsort(agreement).tolist() if index != IMAGES - 1][:2], IMAGES - 1]
    return [
        WorstCase(
            image=images[index],
            agreement=agreement[index],
            metrics={key: numbers[index] for key, numbers in values.items()},
            reference_metrics={key: numbers[index] for key, numbers in per_image[REFERENCE].items()},
            **draw_pictures(entry, index, pictures, has_truth),
        )
        for index in order
    ]


def _layers() -> Layers:
    error = np.concatenate([np.linspace(1e-4, 0.008, 40), [0.09], np.linspace(0.085, 0.06, 50)])
    layers = [
        LayerCosine(
            name=f"/backbone/blocks.{index // 8}/{'attn/qkv' if index % 2 else 'mlp/fc1'}/MatMul_output_{index}",
            operator="MatMul" if index % 3 else "Add",
            cosine=1 - float(value) ** 2 / 2,
            relative_error=float(value),
            own_error=0.09 if index == 40 else 1e-4 * (index + 1),
        )
        for index, value in enumerate(error)
    ]
    return Layers(file="model.int8.onnx", images=4, layers=layers, departs_most=layers[40].name)


def _receipt(entry: Contestant, name: str) -> dict[str, object]:
    if entry.name == REFERENCE:
        return {}
    products = {"int8": 60, "fp32": 14} if entry.precision == "int8" else {entry.precision: 74}
    return {
        "weight_products": products,
        "operators": {"Add": 61, "MatMul": 97, name: 1},
        "fallbacks": [],
        "warnings": [f"node {name}_{index} keeps fp32: its range does not fit" for index in range(3)],
        "budget": {"max_drop": 0.5, "unit": "Dice points", "plan": "all", "samples_ms": [51.25, 50.5]},
    }
