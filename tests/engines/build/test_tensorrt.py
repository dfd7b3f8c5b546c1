"""Engines from NVIDIA's own parser and builder: TensorRT-RTX needs no GPU to build."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from segdino_deploy import Bundle, build_engine, export_model
from segdino_deploy.canary import Canary
from segdino_deploy.engines.build import BuildOptions, find_built, tensorrt
from segdino_deploy.engines.build.contract import BuildRequest
from segdino_deploy.engines.lowering.tap_norms import tap_norms_as_one
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.gpu import has_gpu
from segdino_deploy.manifest import PRECISIONS, BatchRange, Precision
from tests.conftest import Golden, read_golden
from tests.engines.tensorrt.helpers import small_network

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
Copy = Callable[..., Bundle]
SHARE_IN_PRECISION = {"fp32": ("float", 0.6), "fp16": ("half", 0.6), "bf16": ("bf16", 0.6), "int8": ("int8", 0.05)}


def options(precision: Precision, calibration: Path | None = None, **tensorrt_options: object) -> BuildOptions:
    return BuildOptions(
        precision,
        "tensorrt-rtx",
        calibration,
        tensorrt=TensorRtOptions(**tensorrt_options),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_family_builds_in_every_precision_with_a_receipt(
    precision: Precision, golden: Golden, bundle_copy: Copy, calibration_images: Path
) -> None:
    bundle = bundle_copy(golden.name)
    engine = build_engine(bundle, options(precision, calibration_images if precision == "int8" else None))
    receipt = engine.receipt

    assert bundle.file(engine.file).stat().st_size > 50_000
    source = next(model for model in bundle.manifest.onnx.values() if model.file == engine.source)
    assert receipt["weight_products"] == source.weight_products  # every one in the asked type, or kept with a reason
    assert receipt["weight_products"].get(precision, 0) > 0
    name, share = SHARE_IN_PRECISION[precision]
    assert receipt["layer_precisions"][name] > share * receipt["network_layers"]
    built_from = tap_norms_as_one(onnx.load(bundle.file(engine.source))) or onnx.load(bundle.file(engine.source))
    norms = sum(node.op_type == "LayerNormalization" for node in built_from.graph.node)
    assert receipt["normalizations"] >= norms > 0  # LayerNormalization stayed one layer
    assert (receipt["dequantize_layers"] > 0) is (precision == "int8")
    assert "tensorrt_rtx" in engine.built_with
    assert engine.build_seconds is not None
    if not has_gpu():
        assert engine.canary is None  # nothing here can run it, and the record says so
        assert "engine_layers" not in receipt  # nor read it back


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_the_receipt_holds_what_the_engine_itself_computes_in(bundle_copy: Copy) -> None:
    engine = build_engine(bundle_copy(), options("fp16"))
    if engine.canary is None:
        pytest.skip("TensorRT-RTX does not run on this GPU")

    assert engine.receipt["engine_layers"] > 0
    assert engine.receipt["engine_output_types"].get("fp16", 0) > 0


def test_the_build_counts_its_progress(bundle_copy: Copy) -> None:
    counts: list[tuple[str, int, int]] = []
    build_engine(bundle_copy(), options("fp32"), on_count=lambda *count: counts.append(count))

    done = [count[1] for count in counts if count[0] == tensorrt.BUILDING]
    assert done == sorted(done)
    assert done[-1] == counts[-1][2]


def test_an_interrupted_build_leaves_the_bundle_as_it_was(bundle_copy: Copy) -> None:
    bundle = bundle_copy()

    def interrupt(stage: str, done: int, _total: int) -> None:
        if stage == tensorrt.BUILDING and done > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(bundle, options("fp32"), on_count=interrupt)

    assert Bundle.open(bundle.path).manifest == bundle.manifest
    assert [entry.name for entry in bundle.path.iterdir() if entry.name.startswith(".build")] == []


def test_an_engine_for_named_gpus_stands_beside_the_portable_one(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    portable = build_engine(bundle, options("fp16"))
    engine = build_engine(bundle, options("fp16", compute_capabilities=("8.9", "12.0")))

    assert engine.file == "engines/tensorrt-rtx-fp16-sm89-sm120.rtx"
    assert engine.receipt["options"] == {"compute_capabilities": ["8.9", "12.0"]}
    reopened = Bundle.open(bundle.path)
    assert set(reopened.manifest.engines) == {"tensorrt-rtx-fp16", "tensorrt-rtx-fp16-sm89-sm120"}
    assert reopened.manifest.engines["tensorrt-rtx-fp16"] == portable


def test_little_memory_makes_the_same_engine(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    usual = build_engine(bundle, options("fp16"))
    size = bundle.file(usual.file).stat().st_size
    small = build_engine(bundle, options("fp16", low_memory=True, workspace_mib=512))

    assert small.receipt["options"] == {"workspace_mib": 512, "low_memory": True}
    assert small.receipt["weight_products"] == usual.receipt["weight_products"]
    assert bundle.file(small.file).stat().st_size == pytest.approx(size, rel=0.02)


def test_an_engine_that_is_there_is_found_by_its_options(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    wanted = options("fp16", workspace_mib=512)
    assert find_built(bundle, wanted) is None
    engine = build_engine(bundle, wanted)

    assert find_built(bundle, wanted) == engine
    assert find_built(bundle, options("fp16")) is None
    assert find_built(bundle, options("fp32", workspace_mib=512)) is None
    assert find_built(bundle, replace(wanted, lowering=("split-qkv",))) is None
    assert find_built(bundle, replace(wanted, lowering=("none",))) is None
    assert find_built(bundle, replace(wanted, lowering=("tap-norms-as-one",))) == engine


def test_a_weight_that_cannot_be_exchanged_is_named() -> None:
    api = FLAVOURS["tensorrt-rtx"].load()
    _builder, network, _parser = small_network(api, Messages(api))

    tensorrt.mark_refittable(network, ["w"])
    assert network.are_weights_marked_refittable("w")
    with pytest.raises(SegdinoDeployError, match="--refittable: TensorRT does not let another be exchanged"):
        tensorrt.mark_refittable(network, ["w", "another"])


def test_too_small_a_workspace_names_its_option_and_the_bundle_stays(bundle_copy: Copy) -> None:
    bundle = bundle_copy("v1_convt")
    with pytest.raises(
        SegdinoDeployError, match=r"cannot build tensorrt-rtx-fp32: .*; give it more with --workspace MIB$"
    ):
        build_engine(bundle, options("fp32", workspace_mib=1))

    assert Bundle.open(bundle.path).manifest == bundle.manifest
    assert [entry.name for entry in bundle.path.iterdir() if entry.name.startswith(".build")] == []


def test_a_full_disk_is_one_line_and_the_bundle_stays(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    code = """
import resource, sys
from segdino_deploy.cli.app import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # writing past this fails, as on a full disk
sys.argv[1:] = ["build-engine", sys.argv[1], "--fp32", "--backend", "tensorrt-rtx"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code, str(bundle.path)], capture_output=True, text=True)

    assert done.returncode == 2
    assert f"no space left to write {bundle.path}" in done.stderr.splitlines()[-1]
    assert Bundle.open(bundle.path).manifest == bundle.manifest
    assert [entry.name for entry in bundle.path.iterdir() if entry.name.startswith(".build")] == []


def test_a_model_of_any_batch_size_builds_with_its_profile(tmp_path: Path) -> None:
    golden = read_golden("v1_convt")
    batch = BatchRange(min=1, opt=2, max=4)
    bundle = export_model(golden.checkpoint, tmp_path / "b.segdino", ExportOptions(golden.input_hw, batch))

    engine = build_engine(bundle, options("fp16"))

    assert bundle.file(engine.file).stat().st_size > 50_000
    assert engine.receipt["weight_products"]["fp16"] > 0


def test_options_of_another_backend_are_refused_before_anything_is_made(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    with pytest.raises(InputError, match="--workspace: is for tensorrt and tensorrt-rtx engines, not for openvino"):
        build_engine(bundle, replace(options("fp16", workspace_mib=64), backend="openvino"))
    assert set(Bundle.open(bundle.path).manifest.onnx) == {"fp32"}


def test_a_timing_cache_that_cannot_be_written_is_refused_before_anything_is_made(
    bundle_copy: Copy, tmp_path: Path
) -> None:
    bundle = bundle_copy()
    with pytest.raises(InputError, match=f"--timing-cache: {tmp_path} is a folder; name a file"):
        build_engine(bundle, replace(options("fp16", timing_cache=tmp_path), backend="tensorrt"))
    assert set(Bundle.open(bundle.path).manifest.onnx) == {"fp32"}


def test_parser_errors_name_node_operator_and_cure(exported: Callable[[str], Path], tmp_path: Path) -> None:
    bundle = Bundle.open(exported("v1_convt"))
    model = onnx.load(bundle.file("model.onnx"))
    node = next(node for node in model.graph.node if node.op_type == "Gelu")
    node.op_type, node.domain = "Mystery", "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    canary = Canary.read(bundle.file("canary.npz"))
    request = BuildRequest(model, bundle.manifest.model, "fp32", canary, tmp_path, "x")

    with pytest.raises(SegdinoDeployError, match=rf"{node.name} \(Mystery\).*use another backend"):
        tensorrt.build(request, "tensorrt-rtx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lowering", ["rotary-operator", "gelu-erf"])
def test_a_quantized_model_is_built_in_other_spellings(
    lowering: str, bundle_copy: Copy, calibration_images: Path
) -> None:
    engine = build_engine(bundle_copy(), replace(options("int8", calibration_images), lowering=(lowering,)))

    assert [record.chosen for record in engine.lowering] == [lowering]
    assert engine.receipt["weight_products"]["int8"] > 0
