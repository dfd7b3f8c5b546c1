"""A retrained head into engines: what is refused, and which weights change, without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segdino_deploy import Bundle, build_engine, export_model
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.refit import refit_bundle, sources_and_options
from segdino_deploy.engines.tensorrt.weights import changed_weights, head_weights
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.gpu import has_gpu
from segdino_deploy.manifest import Manifest
from segdino_deploy.model.checkpoint import read_checkpoint
from tests.conftest import GOLDEN, read_golden

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


def test_without_a_gpu_the_checkpoint_is_judged_and_nothing_is_touched(bundle_copy: Copy, tmp_path: Path) -> None:
    if has_gpu():
        pytest.skip("this machine has an NVIDIA GPU: the gpu tests refit a real engine")
    bundle = refittable(bundle_copy("v1_convt"))
    before = {path: path.read_bytes() for path in sorted(bundle.path.rglob("*")) if path.is_file()}

    with pytest.raises(MissingComponent, match="exchanging weights needs the NVIDIA GPU that the engine was built for"):
        refit_bundle(bundle, {"": retrained("v1_convt", tmp_path / "new.pth")})

    assert {path: path.read_bytes() for path in sorted(bundle.path.rglob("*")) if path.is_file()} == before
    assert [path.name for path in bundle.path.iterdir() if path.name.startswith(".build")] == []


def test_a_checkpoint_with_another_backbone_or_family_or_the_same_head_is_refused(
    bundle_copy: Copy, tmp_path: Path
) -> None:
    bundle = refittable(bundle_copy("v1_convt"))

    for path, said in (
        (retrained("v1_convt", tmp_path / "b.pth", "blocks.0.mlp"), "differs in more than its head"),
        (GOLDEN / "v2.pth", "the new checkpoint makes another graph, not only other weights"),
        (GOLDEN / "v1_convt.pth", "makes the weights that the bundle has: nothing to do"),
    ):
        with pytest.raises(InputError, match=said):
            refit_bundle(bundle, {"": path})


def test_a_bundle_without_a_refittable_engine_names_the_cure(bundle_copy: Copy) -> None:
    with pytest.raises(InputError, match="no engine can be refitted; make one: build-engine --fp16 --refittable"):
        refit_bundle(bundle_copy("v1_convt"), {"": GOLDEN / "v1_convt.pth"})


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
