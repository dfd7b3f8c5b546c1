"""A retrained head into engines: what is refused, and which weights change, without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segdino_deploy import Bundle, build_engine, export_model
from segdino_deploy.engines import refit as refit_module
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.lowering import respell
from segdino_deploy.engines.precision.cast import cast_model
from segdino_deploy.engines.precision.typed import TypedResult, make_typed_model
from segdino_deploy.engines.refit import refit_bundle, sources_and_options
from segdino_deploy.engines.tensorrt.flavours import Flavour
from segdino_deploy.engines.tensorrt.weights import changed_weights, head_weights
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.gpu import Gpu, has_gpu
from segdino_deploy.manifest import CanaryRecord, Manifest, Precision
from segdino_deploy.model.checkpoint import read_checkpoint
from tests.conftest import GOLDEN, read_golden
from tests.engines.tensorrt import refitting
from tests.engines.tensorrt.refitting import engine_of, is_refittable, weights_in

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
Copy = Callable[..., Bundle]


def retrained(name: str, path: Path, part: str = "") -> Path:
    """The golden checkpoint with every tensor outside the backbone (or those with `part` in their name) moved."""
    found = read_checkpoint(GOLDEN / f"{name}.pth")
    state = {**{f"backbone.{key}": tensor for key, tensor in found.backbone.items()}, **found.head}
    generator = torch.Generator().manual_seed(0)
    for key, tensor in state.items():
        chosen = part in key if part else not key.startswith("backbone")
        if chosen and tensor.is_floating_point():
            state[key] = tensor + 0.01 * torch.randn(tensor.shape, generator=generator)
    torch.save(state, path)
    return path


def refittable(bundle: Bundle) -> Bundle:
    """A bundle whose engine says that it can be refitted (TensorRT-RTX needs a GPU to build one that can)."""
    engine = build_engine(bundle, BuildOptions("fp16", "tensorrt-rtx"))
    marked = engine.model_copy(update={"receipt": {**engine.receipt, "options": {"refittable": True}}})

    def change(manifest: Manifest) -> Manifest:
        return manifest.model_copy(update={"engines": {"tensorrt-rtx-fp16": marked}})

    bundle.update({}, change)
    return bundle


class Refitting:
    """A bundle with two engines that a TensorRT in host memory can refit, and one of another backend.

    `meanwhile` is called while the canary would run.
    """

    def __init__(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle = refittable(bundle)
        engine = self.bundle.manifest.engines["tensorrt-rtx-fp16"]
        self.lowering = [record.chosen for record in engine.lowering]
        before = respell(load_onnx(bundle.file(engine.source)), self.lowering)
        data = engine_of(before, head_weights(before))
        second = engine.model_copy(update={"file": "engines/tensorrt-rtx-fp16-sm89.rtx"})
        other = engine.model_copy(
            update={"file": "engines/other.onnx", "backend": "onnxruntime", "precision": "fp32", "source": "model.onnx"}
        )
        engines = {"tensorrt-rtx-fp16": engine, "tensorrt-rtx-fp16-sm89": second, "onnxruntime-fp32": other}
        self.bundle.update(
            {engine.file: data, second.file: data, other.file: b"old weights"},
            lambda manifest: manifest.model_copy(update={"engines": engines}),
        )
        self.meanwhile: Callable[[], None] = lambda: None
        self.models_made: list[str] = []
        gpu = Gpu("NVIDIA L4", "8.9", "13.0", 1, 24 * 2**30)
        monkeypatch.setattr(refitting.API, "__version__", engine.built_with["tensorrt_rtx"])
        monkeypatch.setattr(Flavour, "load", lambda _: refitting.API)
        monkeypatch.setattr(refit_module, "find_gpu", lambda: gpu)
        monkeypatch.setattr(refit_module, "run_canary", self.run_canary)
        monkeypatch.setattr(refit_module, "make_typed_model", self.make_typed_model)

    def run_canary(self, name: str, *_: object) -> CanaryRecord:
        self.meanwhile()
        return CanaryRecord(passed=True, mask_agreement=1, worst_margin=0, detail=name)

    def make_typed_model(self, bundle: Bundle, precision: Precision, backend: str) -> TypedResult:
        self.models_made.append(precision)
        return make_typed_model(bundle, precision, backend)


@pytest.fixture
def refitting_bundle(bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch) -> Refitting:
    return Refitting(bundle_copy("v1_convt"), monkeypatch)


def test_every_refittable_engine_gets_the_new_weights_and_the_others_go(
    refitting_bundle: Refitting, tmp_path: Path
) -> None:
    bundle = refitting_bundle.bundle

    done = refit_bundle(bundle, {"": retrained("v1_convt", tmp_path / "new.pth")})

    assert (done.engines, done.removed) == (["tensorrt-rtx-fp16", "tensorrt-rtx-fp16-sm89"], ["onnxruntime-fp32"])
    assert refitting_bundle.models_made == ["fp16"]  # once for both
    reopened = Bundle.open(bundle.path)
    assert list(reopened.manifest.engines) == done.engines
    assert all(engine.canary is not None for engine in reopened.manifest.engines.values())
    new = respell(load_onnx(reopened.file("model.fp16.onnx")), refitting_bundle.lowering)
    constants = {tensor.name: tensor.raw_data for tensor in new.graph.initializer}
    for engine in reopened.manifest.engines.values():
        data = reopened.file(engine.file).read_bytes()
        assert weights_in(data) == {name: constants[name] for name in head_weights(new)}
        assert is_refittable(data)
    assert not reopened.file("engines/other.onnx").exists()


def test_an_engine_that_was_built_meanwhile_is_not_thrown_away(refitting_bundle: Refitting, tmp_path: Path) -> None:
    bundle = refitting_bundle.bundle

    def build_another() -> None:
        opened = Bundle.open(bundle.path)
        late = opened.manifest.engines["onnxruntime-fp32"].model_copy(update={"file": "engines/late.onnx"})
        opened.update(
            {late.file: b"late"},
            lambda found: found.model_copy(update={"engines": {**found.engines, "onnxruntime-fp16": late}}),
        )

    refitting_bundle.meanwhile = build_another
    with pytest.raises(InputError, match="onnxruntime-fp16 was built while weights were exchanged; run refit again"):
        refit_bundle(bundle, {"": retrained("v1_convt", tmp_path / "new.pth")})

    reopened = Bundle.open(bundle.path)
    assert {"onnxruntime-fp32", "onnxruntime-fp16"} <= set(reopened.manifest.engines)
    assert reopened.file("engines/late.onnx").read_bytes() == b"late"


def test_a_bundle_that_was_exported_anew_meanwhile_keeps_its_new_model(
    refitting_bundle: Refitting, tmp_path: Path
) -> None:
    bundle = refitting_bundle.bundle

    def export_anew() -> None:
        opened = Bundle.open(bundle.path)
        card = opened.manifest.model.model_copy(update={"mean": (0.1, 0.1, 0.1)})
        opened.update({}, lambda found: found.model_copy(update={"model": card}))

    refitting_bundle.meanwhile = export_anew
    with pytest.raises(InputError, match="was exported anew while weights were exchanged; run refit again"):
        refit_bundle(bundle, {"": retrained("v1_convt", tmp_path / "new.pth")})

    assert Bundle.open(bundle.path).manifest.model.mean == (0.1, 0.1, 0.1)


def test_what_calibration_images_kept_in_fp32_is_named_with_the_cure(
    refitting_bundle: Refitting, tmp_path: Path
) -> None:
    bundle = refitting_bundle.bundle
    fp32 = load_onnx(bundle.file("model.onnx"))
    wide = next(node.output[0] for node in fp32.graph.node if "blocks.1" in node.name and node.op_type == "MatMul")
    typed, _ = cast_model(fp32, "fp16", {wide: 1e6}, "4 calibration images")
    record = bundle.manifest.onnx["fp16"].model_copy(update={"checked_on": "4 calibration images"})
    bundle.update(
        {record.file: typed.SerializeToString()},
        lambda found: found.model_copy(update={"onnx": {**found.onnx, "fp16": record}}),
    )

    with pytest.raises(InputError, match=r"made with 4 calibration images, .*: build it again with --calibration"):
        refit_bundle(bundle, {"": retrained("v1_convt", tmp_path / "new.pth")})


@pytest.mark.parametrize("name", ["v1_convt", "v2"])
def test_a_retrained_head_changes_weights_that_the_engine_can_exchange(name: str, tmp_path: Path) -> None:
    golden = read_golden(name)
    options = ExportOptions(golden.input_hw)
    old, new = (
        export_model(path, tmp_path / f"{label}.segdino", options)
        for label, path in (("old", GOLDEN / f"{name}.pth"), ("new", retrained(name, tmp_path / "new.pth")))
    )
    before, after = (load_onnx(bundle.file("model.onnx")) for bundle in (old, new))

    changed = changed_weights(before, after)

    assert changed
    assert set(changed) <= set(head_weights(before))


def test_without_a_gpu_nothing_is_done(bundle_copy: Copy, tmp_path: Path) -> None:
    if has_gpu():
        pytest.skip("this machine has an NVIDIA GPU: the gpu tests refit a real engine")
    bundle = refittable(bundle_copy("v1_convt"))
    before = {path: path.read_bytes() for path in sorted(bundle.path.rglob("*")) if path.is_file()}

    steps: list[str] = []
    with pytest.raises(MissingComponent, match="exchanging weights needs the NVIDIA GPU that the engine was built for"):
        refit_bundle(bundle, {"": retrained("v1_convt", tmp_path / "new.pth")}, on_step=steps.append)

    assert steps == []  # the GPU is asked for before anything is exported
    assert {path: path.read_bytes() for path in sorted(bundle.path.rglob("*")) if path.is_file()} == before
    assert [path.name for path in bundle.path.iterdir() if path.name.startswith(".build")] == []


def test_a_checkpoint_with_another_backbone_or_family_or_the_same_head_is_refused(
    refitting_bundle: Refitting, tmp_path: Path
) -> None:
    bundle = refitting_bundle.bundle

    for path, said in (
        (
            retrained("v1_convt", tmp_path / "b.pth", "blocks.1.mlp"),
            r"differs in more than its head \(\d+ other weights, such as backbone\.blocks\.1\.mlp\.fc1\.bias\)",
        ),
        (GOLDEN / "v2.pth", "the new checkpoint makes another graph, not only other weights"),
        (GOLDEN / "v1_convt.pth", "makes the weights that the bundle has: nothing to do"),
    ):
        with pytest.raises(InputError, match=said):
            refit_bundle(bundle, {"": path})


def test_a_bundle_without_a_refittable_engine_names_the_cure(bundle_copy: Copy) -> None:
    bundle = bundle_copy("v1_convt")
    for backend in ("tensorrt", "tensorrt-rtx"):
        with pytest.raises(InputError) as caught:
            refit_bundle(bundle, {"": GOLDEN / "v1_convt.pth"})
        assert str(caught.value) == (
            f"{bundle.path}: no engine can be refitted; make one: "
            f"segdino-deploy build-engine {bundle.path} --fp16 --backend {backend} --refittable"
        )
        build_engine(bundle, BuildOptions("fp16", "tensorrt-rtx"))


def test_the_new_checkpoint_is_exported_as_the_old_one_was(exported: Callable[[str], Path]) -> None:
    card = Bundle.open(exported("v2_3class_sat")).manifest.model
    sources, options = sources_and_options(card, {"": Path("new.pth")})

    assert sources[""].checkpoint == Path("new.pth")
    assert sources[""].taps == card.heads[0].taps
    assert (options.input_size, options.batch, list(options.outputs)) == (
        card.input_size,
        card.batch,
        card.heads[0].outputs,
    )


def test_heads_that_are_not_the_bundles_are_refused(joint: Path) -> None:
    card = Bundle.open(joint).manifest.model
    with pytest.raises(
        InputError, match="heads are polyp, tissue: name them all with --head polyp=FILE, --head tissue"
    ):
        sources_and_options(card, {"polyp": Path("new.pth")})
