"""Several heads on one backbone: which checkpoints go together, and what is said of those that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segdino_deploy.errors import InputError
from segdino_deploy.model.checkpoint import read_checkpoint
from segdino_deploy.model.joint import load_models
from tests.conftest import GOLDEN

Shared = Callable[[str], Path]
NO_TAPS = {"a": None, "b": None}


def changed(path: Path, change: Callable[[dict[str, Tensor]], object], target: Path) -> Path:
    """A copy of a checkpoint whose backbone tensors (without prefix) went through `change`."""
    checkpoint = read_checkpoint(path)
    change(checkpoint.backbone)
    torch.save({**{f"backbone.{k}": t for k, t in checkpoint.backbone.items()}, **checkpoint.head}, target)
    return target


def test_equal_backbones_are_kept_once(shared_backbone: Shared) -> None:
    models = load_models({"a": shared_backbone("v1_convt"), "b": shared_backbone("v2")}, NO_TAPS)

    assert [model.family for model in models.values()] == ["v1_convt", "v2"]
    assert models["a"].backbone is models["b"].backbone


def test_the_first_differing_tensors_and_both_files_are_named(shared_backbone: Shared) -> None:
    with pytest.raises(InputError) as caught:
        load_models({"a": shared_backbone("v1_convt"), "b": GOLDEN / "v2.pth"}, NO_TAPS)

    message = str(caught.value)
    assert message.startswith(f"{GOLDEN / 'v2.pth'}: its backbone is not that of {GOLDEN / 'v1_convt.pth'}")
    assert message.count("backbone.") == 3
    assert "more" in message
    assert "\n" not in message


def test_one_changed_value_is_enough(shared_backbone: Shared, tmp_path: Path) -> None:
    def nudge(backbone: dict[str, Tensor]) -> None:
        backbone["blocks.3.attn.proj.bias"][0] += 1e-6

    other = changed(shared_backbone("v2"), nudge, tmp_path / "b.pth")

    with pytest.raises(InputError, match=r"\(differs in backbone\.blocks\.3\.attn\.proj\.bias\)"):
        load_models({"a": shared_backbone("v1_convt"), "b": other}, NO_TAPS)


def test_what_inference_never_reads_may_differ(shared_backbone: Shared, tmp_path: Path) -> None:
    def train_on(backbone: dict[str, Tensor]) -> None:
        backbone["mask_token"] += 1
        backbone["local_cls_norm.weight"] = backbone["local_cls_norm.bias"] = torch.ones(32)
        backbone["blocks.11.norm1.weight"] += 1

    other = changed(shared_backbone("v2"), train_on, tmp_path / "b.pth")
    files = {"a": shared_backbone("v1_convt"), "b": other}

    load_models(files, {"a": (1, 2, 3, 4), "b": (1, 4, 7, 10)})
    with pytest.raises(InputError, match=r"blocks\.11\.norm1\.weight"):  # read by the default tap 11
        load_models(files, {"a": (1, 2, 3, 4), "b": None})


@pytest.mark.parametrize(
    ("name", "difference"),
    [("v1_convt_4class_large", "embed_dim 16, not 32, depth 24, not 12"), ("v1_convt_swiglu", "ffn swiglu, not mlp")],
)
def test_backbones_of_other_sizes_say_which(name: str, difference: str, shared_backbone: Shared) -> None:
    with pytest.raises(InputError, match=difference):
        load_models({"a": shared_backbone("v2"), "b": GOLDEN / f"{name}.pth"}, NO_TAPS)


def test_heads_without_backbones_take_one_file_and_are_not_mixed_with_others(
    shared_backbone: Shared, tmp_path: Path
) -> None:
    torch.save(read_checkpoint(GOLDEN / "v1_convt.pth").backbone, tmp_path / "backbone.pth")
    for name in ("v1_convt", "v2"):
        torch.save(read_checkpoint(GOLDEN / f"{name}.pth").head, tmp_path / f"{name}.pth")
    files = {"a": tmp_path / "v1_convt.pth", "b": tmp_path / "v2.pth"}

    models = load_models(files, NO_TAPS, tmp_path / "backbone.pth")

    expected = load_models({"a": shared_backbone("v1_convt"), "b": shared_backbone("v2")}, NO_TAPS)
    for key, tensor in expected["b"].state_dict().items():
        assert torch.equal(models["b"].state_dict()[key], tensor)
    whole = shared_backbone("v1_convt")
    for mixed in ({"a": whole, "b": files["b"]}, {"b": files["b"], "a": whole}):
        with pytest.raises(InputError, match=f"{whole}: has its own backbone, {files['b']} has none; .*--backbone-wei"):
            load_models(mixed, NO_TAPS)
    with pytest.raises(InputError, match="holds a head only: give the backbone's file with --backbone-weights"):
        load_models(files, NO_TAPS)
