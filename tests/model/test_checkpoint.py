"""Reading checkpoints: every wrapper, and every way a file can be wrong."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segdino_deploy import load_segdino
from segdino_deploy.errors import InputError
from tests.conftest import GOLDEN


def golden_state(name: str = "v1_convt") -> dict[str, Tensor]:
    content = torch.load(GOLDEN / f"{name}.pth", weights_only=True)
    return dict(content.get("state_dict") or content.get("model") or content)


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def nest(state: dict[str, Tensor]) -> dict[str, Any]:
    parts: dict[str, Any] = {"epoch": 3}
    for key, tensor in state.items():
        part, _, name = key.partition(".")
        parts.setdefault(part, {})[name] = tensor
    return parts


WRAPPERS = {
    "bare": lambda s: s,
    "epoch and state_dict": lambda s: {"epoch": 1, "state_dict": s, "optimizer": {"state": {}}},
    "model with metrics": lambda s: {
        "model": s,
        "optimizer": {},
        "step": 2,
        "metrics": {"dice": 0.9},
        "config": {"a": 1},
    },
    "backbone and head apart": nest,
    "module prefix": lambda s: {f"module.{k}": v for k, v in s.items()},
    "module prefix inside state_dict": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
}


@pytest.mark.parametrize("wrapper", list(WRAPPERS))
@pytest.mark.parametrize("name", ["v1_convt", "v2"])
def test_every_wrapper_gives_the_same_tensors(name: str, wrapper: str, tmp_path: Path) -> None:
    expected = load_segdino(GOLDEN / f"{name}.pth").state_dict()

    found = load_segdino(save(WRAPPERS[wrapper](golden_state(name)), tmp_path / "c.pth")).state_dict()

    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def test_half_precision_is_loaded_as_float32(tmp_path: Path) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in golden_state().items()}

    model = load_segdino(save(state, tmp_path / "c.pth"))

    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_safetensors_is_read(tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in golden_state("v2_initial").items()}, tmp_path / "c.safetensors")

    assert load_segdino(tmp_path / "c.safetensors").family == "v2_initial"


def test_head_only_file_takes_the_backbone_from_its_own_file(tmp_path: Path) -> None:
    state = golden_state("v2")
    head = save({k: v for k, v in state.items() if k.startswith("decoder.")}, tmp_path / "head.pth")
    backbone = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}

    model = load_segdino(head, backbone_weights=save(backbone, tmp_path / "backbone.pth"))

    expected = load_segdino(GOLDEN / "v2.pth").state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items())


def test_norm_kind_is_told_by_the_running_statistics(tmp_path: Path) -> None:
    state = {k: v for k, v in golden_state("v2_initial").items() if "running_" not in k and "num_batches" not in k}

    model = load_segdino(save(state, tmp_path / "c.pth"))

    assert type(model.head.intra_r1.norm).__name__ == "GroupNorm"
    assert type(load_segdino(GOLDEN / "v2_initial.pth").head.intra_r1.norm).__name__ == "BatchNorm2d"


def test_taps_can_be_named() -> None:
    assert load_segdino(GOLDEN / "v1_convt_4class_large.pth", taps=(5, 11, 17, 23)).taps == (5, 11, 17, 23)
    with pytest.raises(InputError, match="blocks 0 to 11"):
        load_segdino(GOLDEN / "v1_convt.pth", taps=(2, 5, 8, 12))
    with pytest.raises(InputError, match="four increasing"):
        load_segdino(GOLDEN / "v1_convt.pth", taps=(5, 2, 8, 11))


def refused(path: Path, **options: Any) -> str:
    """The one line a bad file is refused with."""
    with pytest.raises(InputError) as caught:
        load_segdino(path, **options)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_text_is_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_text("I am a README, not a checkpoint\n" * 20)
    assert "not a PyTorch checkpoint" in refused(tmp_path / "c.pth")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "c.pth")
    (tmp_path / "d.pth").mkdir()
    assert "is a directory" in refused(tmp_path / "d.pth")


@pytest.mark.parametrize("kept", [10, 1000, 500_000])
def test_truncated_file(kept: int, tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_bytes((GOLDEN / "v1_convt.pth").read_bytes()[:kept])
    assert "truncated, or not a checkpoint" in refused(tmp_path / "c.pth")


def test_truncated_safetensors(tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in golden_state().items()}, tmp_path / "c.safetensors")
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "c.safetensors").read_bytes()[:5000])
    assert "truncated" in refused(tmp_path / "c.safetensors")


class Payload:
    """Unpickling this would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_pickle_with_code_is_refused_before_it_runs(is_zip: bool, tmp_path: Path) -> None:
    content = {"state_dict": golden_state(), "extra": Payload(tmp_path / "owned")}
    if is_zip:
        torch.save(content, tmp_path / "c.pth")
    else:
        (tmp_path / "c.pth").write_bytes(pickle.dumps({"extra": Payload(tmp_path / "owned")}))

    message = refused(tmp_path / "c.pth")

    assert ("its pickle needs posix.mkdir" if is_zip else "refused, its pickle needs more") in message
    assert "weights_only=False" in message  # how to convert it, for those who trust it
    assert not (tmp_path / "owned").exists()


def test_unknown_family_names_the_nearest_and_the_first_differing_keys(tmp_path: Path) -> None:
    state = golden_state("fine_grained")
    state = {k.replace("head.resize_layers", "head.upsamplers"): v for k, v in state.items()}
    del state["head.scratch.output_conv.0.weight"]

    message = refused(save(state, tmp_path / "c.pth"))

    assert "nearest is fine_grained" in message
    assert "head.resize_layers.0.bias" in message
    assert "head.upsamplers.0.bias" in message


def test_a_foreign_key_is_named_also_beside_batch_norms(tmp_path: Path) -> None:
    state = golden_state("v2_initial") | {"head.zzz.weight": torch.zeros(1)}

    assert "the file has head.zzz.weight which v2_initial does not know" in refused(save(state, tmp_path / "c.pth"))


def test_wrong_shape_names_the_tensor_and_both_shapes(tmp_path: Path) -> None:
    state = golden_state("v1_paper")
    state["head.scratch.layer3_rn.weight"] = torch.zeros(16, 40, 3, 3)

    message = refused(save(state, tmp_path / "c.pth"))

    assert "head.scratch.layer3_rn.weight has shape [16, 40, 3, 3], [16, 48, 3, 3] was expected" in message


def test_missing_and_additional_keys_are_errors(tmp_path: Path) -> None:
    state = golden_state()
    del state["backbone.blocks.4.norm2.bias"]
    assert "lacks backbone.blocks.4.norm2.bias" in refused(save(state, tmp_path / "a.pth"))
    state = golden_state() | {"backbone.blocks.4.extra": torch.zeros(1)}
    assert "unknown backbone.blocks.4.extra" in refused(save(state, tmp_path / "b.pth"))
    state = golden_state() | {"head.aux.weight": torch.zeros(1)}
    assert "head.aux.weight" in refused(save(state, tmp_path / "c.pth"))


def test_head_only_without_backbone_says_how_to_give_it(tmp_path: Path) -> None:
    head = {k: v for k, v in golden_state().items() if k.startswith("head.")}
    assert "--backbone-weights" in refused(save(head, tmp_path / "c.pth"))


def test_backbone_alone_is_not_a_checkpoint(tmp_path: Path) -> None:
    state = {k.removeprefix("backbone."): v for k, v in golden_state().items() if k.startswith("backbone.")}
    assert "without a SegDINO head" in refused(save(state, tmp_path / "c.pth"))


def test_backbone_weights_for_a_whole_checkpoint_are_refused() -> None:
    assert "has its own backbone" in refused(GOLDEN / "v1_convt.pth", backbone_weights=GOLDEN / "v2.pth")


def test_nan_is_refused_by_name(tmp_path: Path) -> None:
    state = golden_state()
    state["backbone.blocks.0.attn.qkv.bias_mask"][:] = float("nan")  # upstream's unfilled mask
    assert "backbone.blocks.0.attn.qkv.bias_mask holds NaN" in refused(save(state, tmp_path / "c.pth"))


def test_file_of_another_kind_of_content(tmp_path: Path) -> None:
    assert "holds a list" in refused(save([1, 2], tmp_path / "a.pth"))
    assert "holds no tensors" in refused(save({"epoch": 3}, tmp_path / "b.pth"))
