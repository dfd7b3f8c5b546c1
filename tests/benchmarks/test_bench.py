"""A run of the whole benchmark: what it holds, and that it catches what harms masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from segdino_deploy import Bundle
from segdino_deploy.benchmarks.bench import run_bench
from segdino_deploy.benchmarks.report.save import save_report
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.manifest import Manifest
from tests.benchmarks.conftest import BUDGET, ENGINE, Quick, measure


def with_defect(bundle: Bundle, change: Callable[[onnx.ModelProto], None]) -> Bundle:
    """The engine's file changed and its hash with it, as a defective build would have written it."""
    file = bundle.manifest.engines[ENGINE].file
    model = onnx.load(bundle.file(file))
    change(model)
    bundle.update({file: model.SerializeToString()}, lambda manifest: manifest)
    return Bundle.open(bundle.path)


def weight_of_first(model: onnx.ModelProto, wanted: Callable[[onnx.NodeProto], bool]) -> onnx.TensorProto:
    node = next(node for node in model.graph.node if wanted(node))
    return next(tensor for tensor in model.graph.initializer if tensor.name in node.input)


def zero_the_head(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "Conv" and "head" in node.name:
            weight = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
            values = numpy_helper.to_array(weight).copy()
            values[0] = 0  # of all output channels the first
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def take_bgr(model: onnx.ModelProto) -> None:
    weight = weight_of_first(model, lambda node: node.op_type == "Conv")
    values = numpy_helper.to_array(weight)  # [D, 3, 16, 16]
    assert values.shape[1] == 3
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[:, ::-1]), weight.name))


def swap_the_filter(manifest: Manifest) -> Manifest:
    assert manifest.model.resize_filter == "bicubic"
    return manifest.model_copy(
        update={"model": manifest.model.model_copy(update={"resize_filter": "bilinear"})},
    )


def test_a_sound_engine_keeps_the_budget(bundle: Bundle, coloured_images: Path, quick: Quick, tmp_path: Path) -> None:
    result = measure(bundle, coloured_images, quick, tmp_path)

    assert result.passed
    assert [verdict.engine for verdict in result.verdicts] == [ENGINE]
    row = result.row(ENGINE)
    assert row.accuracy is not None and row.accuracy.summary["agreement"].mean == pytest.approx(1, abs=1e-4)
    assert len(row.speed.with_copies.samples_ms) == 2
    assert row.speed.file_to_mask is not None and row.throughput[0].images_per_second > 0
    assert row.start_up.total_s > 0 and row.peak_host_mib > 10


@pytest.mark.parametrize("defect", [zero_the_head, take_bgr, swap_the_filter])
def test_a_planted_defect_misses_the_budget_and_the_report_shows_it(
    defect: Callable[..., object], bundle: Bundle, coloured_images: Path, quick: Quick, tmp_path: Path
) -> None:
    if defect is swap_the_filter:
        bundle.update({}, swap_the_filter)
        defective = Bundle.open(bundle.path)
    else:
        defective = with_defect(bundle, defect)  # type: ignore[arg-type]

    result = measure(defective, coloured_images, quick, tmp_path)

    assert not result.passed
    verdict = result.verdicts[0]
    assert verdict.drop > BUDGET and verdict.unit == "% of pixels changed"
    assert result.row(ENGINE).worst, "the images that changed are shown"
    save_report(result, tmp_path / "pictures", defective, tmp_path / "report")
    for page in ("report.md", "index.html"):
        text = (tmp_path / "report" / page).read_text()
        assert "Failed: 1 of 1 engine exceeds the budget" in text, page
        assert f"{verdict.drop:.3f}" in text, page
    assert json.loads((tmp_path / "report" / "report.json").read_text())["verdicts"][0]["passed"] is False


def test_an_engine_that_this_machine_cannot_run_is_listed_with_the_reason(
    bundle: Bundle, quick: Quick, tmp_path: Path
) -> None:
    def add_engine(manifest: Manifest) -> Manifest:
        elsewhere = manifest.engines[ENGINE].model_copy(update={"backend": "tensorrt", "built_with": {}})
        return manifest.model_copy(update={"engines": {**manifest.engines, "tensorrt-fp32": elsewhere}})

    bundle.update({}, add_engine)
    result = run_bench(Bundle.open(bundle.path), quick(), tmp_path / "pictures")

    assert list(result.not_run) == ["tensorrt-fp32"]
    assert "GPU" in result.not_run["tensorrt-fp32"]
    save_report(result, tmp_path, bundle, tmp_path / "report")
    for page in ("report.md", "index.html"):
        assert "tensorrt-fp32" in (tmp_path / "report" / page).read_text()


def test_an_engine_that_cannot_be_opened_or_run_leaves_the_others_measured(
    bundle: Bundle, quick: Quick, tmp_path: Path
) -> None:
    engine = bundle.manifest.engines[ENGINE]
    broken = {"no-engine": b"nothing", "asks-for-more": onnx.load(bundle.file(engine.file))}
    broken["asks-for-more"].graph.input[0].type.tensor_type.shape.dim[1].dim_value += 16  # type: ignore[union-attr]
    files = {
        f"engines/{name}.onnx": made if isinstance(made, bytes) else made.SerializeToString()
        for name, made in broken.items()
    }

    def add(manifest: Manifest) -> Manifest:
        more = {name: engine.model_copy(update={"file": f"engines/{name}.onnx"}) for name in broken}
        return manifest.model_copy(update={"engines": {**more, **manifest.engines}})

    bundle.update(files, add)

    result = run_bench(Bundle.open(bundle.path), quick(), tmp_path)

    assert set(result.not_run) == set(broken)
    assert "cannot open it" in result.not_run["no-engine"]
    assert [row.name for row in result.rows] == ["model.onnx", ENGINE]


def test_layers_that_overflow_are_said_and_cost_no_report(
    bundle: Bundle, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segdino_deploy.benchmarks import bench

    def overflow(*_: object) -> None:
        raise CheckFailed("blocks.3.mlp.fc2 is infinite")

    monkeypatch.setattr(bench, "why_no_layers", lambda *_: "")
    monkeypatch.setattr(bench, "compare_layers", overflow)

    row = run_bench(bundle, quick(layers=True), tmp_path).row(ENGINE)

    assert row.layers is None
    assert row.no_layers == "blocks.3.mlp.fc2 is infinite"


@pytest.mark.parametrize("option", [{"callers": (0,)}, {"callers": ()}, {"batch_sizes": (0,)}])
def test_numbers_that_measure_nothing_are_refused_at_once(option: dict[str, object], quick: Quick) -> None:
    with pytest.raises(InputError, match=r"--callers|--batch-sizes"):
        quick(**option)


def test_batches_that_the_model_does_not_take_are_refused_before_anything_is_opened(
    bundle: Bundle, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segdino_deploy.benchmarks.bench.open_contestants", None)

    with pytest.raises(InputError, match="8"):
        run_bench(bundle, quick(batch_sizes=(8,)), tmp_path)


@pytest.mark.parametrize("option", [{"max_drop": 0.1}, {"foreground": (2,)}, {"image_dir": "a"}])
def test_what_needs_images_is_refused_without_them(option: dict[str, object], quick: Quick) -> None:
    with pytest.raises(InputError, match="name them with --data"):
        quick(**option)


def test_a_second_report_takes_the_place_of_the_first(
    bundle: Bundle, coloured_images: Path, quick: Quick, tmp_path: Path
) -> None:
    defective = with_defect(bundle, zero_the_head)
    first = measure(defective, coloured_images, quick, tmp_path)
    save_report(first, tmp_path / "pictures", defective, None)
    pictures = {name for name in defective.manifest.files if name.startswith("report/images/")}
    assert pictures

    second = run_bench(defective, quick(), tmp_path)
    save_report(second, tmp_path, defective, None)

    assert not pictures & Bundle.open(bundle.path).manifest.files.keys()
    assert not any(bundle.file(name).exists() for name in pictures)


def test_the_stored_command_measures_the_same_again(tmp_path: Path, quick: Quick) -> None:
    options = quick(data=tmp_path / "my images", max_drop=0.5, layers=True, foreground=(1, 2))

    command = options.command(Path("a.segdino"))

    assert command.startswith("segdino-deploy bench a.segdino --data '")
    for words in ("--max-drop 0.5", "--layers", "--foreground 1,2", "--rounds 2", "--callers 1"):
        assert words in command


def test_scores_of_masks_are_those_of_each_image(bundle: Bundle, quick: Quick, tmp_path: Path) -> None:
    """Masks that are the reference's own answer score 1 with it; an inverted one scores 0."""
    from segdino_deploy.engines.run import open_engine

    data = tmp_path / "data"
    height, width = bundle.manifest.model.input_size
    rng = np.random.default_rng(1)
    for folder in ("image", "mask"):
        (data / folder).mkdir(parents=True)
    with open_engine(bundle.path) as runner:
        for index in range(2):
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            mask = np.asarray(runner.run({"image": image[None]})["mask"][0], np.uint8)
            assert 0 < mask.mean() < 1
            Image.fromarray(image).save(data / "image" / f"{index}.png")
            Image.fromarray(255 * (mask if index == 0 else 1 - mask)).save(data / "mask" / f"{index}.png")

    result = run_bench(bundle, quick(data=data), tmp_path / "pictures")

    accuracy = result.row(ENGINE).accuracy
    assert accuracy is not None
    assert accuracy.per_image["dice"] == pytest.approx([1, 0], abs=1e-6)
    assert accuracy.per_image["accuracy"] == pytest.approx([1, 0], abs=1e-6)
    assert accuracy.summary["dice"].mean == pytest.approx(0.5, abs=1e-6)
