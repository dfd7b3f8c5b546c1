"""Which SegDINO family a state dict belongs to, and every size of the model, read from the tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from segdino_deploy.errors import InputError
from segdino_deploy.model.dinov3 import ViTConfig
from segdino_deploy.model.heads import HeadConfig, build_head

StateDict = Mapping[str, Tensor]

# Blocks that feed the head, by depth: upstream's choice for S and B (12), L (24) and the 40-block models.
DEFAULT_TAPS: dict[int, tuple[int, ...]] = {12: (2, 5, 8, 11), 24: (4, 11, 17, 23), 40: (9, 19, 29, 39)}


@dataclass(frozen=True)
class Family:
    """How one head family is recognised and where its sizes stand."""

    name: str
    prefix: str  # of its keys in the state dict
    marks: tuple[str, ...]  # keys (without prefix) that only this family has together
    absent: tuple[str, ...]  # keys that would make it another family
    projection: str  # key of the i-th 1x1 projection, with {} for i
    features: str  # key of a tensor with `features` output channels
    output: str  # key of the last convolution's weight
    block_norm: str | None = None  # where residual blocks keep their norm, if they have one


FAMILIES: tuple[Family, ...] = (
    Family(
        "v2",
        "decoder.",
        ("token_projections.0.weight",),
        (),
        "token_projections.{}.weight",
        "tpa_branch_1.conv.weight",
        "out_conv.weight",
        "sad_intra_1.norm",
    ),
    Family(
        "v2_initial",
        "head.",
        ("proj.0.weight", "rsz1.weight"),
        (),
        "proj.{}.weight",
        "rsz1.weight",
        "out_conv.weight",
        "intra_r1.norm",
    ),
    Family(
        "fine_grained",
        "head.",
        ("projects.0.weight", "resize_layers.0.weight"),
        (),
        "projects.{}.weight",
        "scratch.layer1_rn.weight",
        "scratch.output_conv.2.weight",
    ),
    Family(
        "v1_convt",
        "head.",
        ("projects.0.weight", "proj.weight"),
        ("resize_layers.0.weight",),
        "projects.{}.weight",
        "scratch.layer1_rn.weight",
        "scratch.output_conv.weight",
    ),
    Family(
        "v1_paper",
        "head.",
        ("projects.0.weight", "scratch.output_conv.weight"),
        ("proj.weight", "resize_layers.0.weight"),
        "projects.{}.weight",
        "scratch.layer1_rn.weight",
        "scratch.output_conv.weight",
    ),
)


def expected_head_keys(family: Family, norm: str = "group") -> set[str]:
    """Every key (with prefix) of the family, at a toy width: names do not depend on the sizes."""
    config = HeadConfig(family.name, embed_dim=8, num_classes=1, widths=(8, 8, 8, 8), features=8, norm=norm)
    return {family.prefix + key for key in build_head(config).state_dict()}


def detect_family(keys: Collection[str]) -> Family:
    """The family whose marks are all among `keys`. InputError names the nearest one and the first differing keys."""
    present = set(keys)
    for family in FAMILIES:
        has_marks = all(family.prefix + mark in present for mark in family.marks)
        if has_marks and not any(family.prefix + key in present for key in family.absent):
            return family
    head_keys = {key for key in present if key.startswith(("head.", "decoder."))}
    raise InputError("unknown SegDINO family: " + describe_nearest(head_keys))


def describe_nearest(head_keys: set[str]) -> str:
    """`nearest is v1_convt, which lacks ... and has ... instead`, by the overlap of the key sets."""

    norm = "batch" if any(key.endswith("running_mean") for key in head_keys) else "group"

    def overlap(family: Family) -> float:
        expected = expected_head_keys(family, norm)
        return len(expected & head_keys) / len(expected | head_keys)

    nearest = max(FAMILIES, key=overlap)
    expected = expected_head_keys(nearest, norm)
    missing, extra = sorted(expected - head_keys), sorted(head_keys - expected)
    parts = [f"the nearest is {nearest.name}"]
    if missing:
        parts.append(f"of which the file lacks {name_first(missing)}")
    if extra:
        parts.append(f"the file has {name_first(extra)} which {nearest.name} does not know")
    return "; ".join(parts)


def name_first(keys: Sequence[str], count: int = 3) -> str:
    """`a, b, c and 4 more`."""
    rest = f" and {len(keys) - count} more" if len(keys) > count else ""
    return ", ".join(keys[:count]) + rest


def infer_vit(state: StateDict, num_heads: int | None = None) -> ViTConfig:
    """Sizes of a backbone from its tensors (upstream names without prefix).

    The head dimension is 4 x the number of RoPE periods; `num_heads` is used where the file stores no periods.
    """
    shape = _shapes(state, "backbone.")
    embed_dim = shape("cls_token")[-1]
    if "rope_embed.periods" in state:
        num_heads = embed_dim // (4 * shape("rope_embed.periods")[0])
    if not num_heads:
        raise InputError(f"cannot tell the number of attention heads of a backbone of width {embed_dim}")
    indices = {int(key.split(".")[1]) for key in state if key.startswith("blocks.")}
    is_swiglu = "blocks.0.mlp.w1.weight" in state
    return ViTConfig(
        embed_dim=embed_dim,
        depth=len(indices),
        num_heads=num_heads,
        ffn="swiglu" if is_swiglu else "mlp",
        ffn_hidden_dim=shape("blocks.0.mlp.w1.weight" if is_swiglu else "blocks.0.mlp.fc1.weight")[0],
        num_registers=shape("storage_tokens")[1] if "storage_tokens" in state else 0,
        qkv_bias="blocks.0.attn.qkv.bias" in state,
        has_local_cls_norm="local_cls_norm.weight" in state,
    )


def infer_head(family: Family, state: StateDict, embed_dim: int) -> HeadConfig:
    """Sizes of a head from its tensors (names without the family's prefix)."""
    shape = _shapes(state, family.prefix)
    has_running_statistics = f"{family.block_norm}.running_mean" in state
    return HeadConfig(
        family=family.name,
        embed_dim=embed_dim,
        num_classes=shape(family.output)[0],
        widths=tuple(shape(family.projection.format(i))[0] for i in range(4)),
        features=shape(family.features)[0],
        norm="none" if family.block_norm is None else "batch" if has_running_statistics else "group",
    )


def _shapes(state: StateDict, prefix: str) -> Callable[[str], tuple[int, ...]]:
    def shape(key: str) -> tuple[int, ...]:
        if key not in state:
            raise InputError(f"the file lacks {prefix}{key}")
        if state[key].ndim == 0:
            raise InputError(f"{prefix}{key} is a scalar, a tensor with dimensions was expected")
        return tuple(state[key].shape)

    return shape


def default_taps(depth: int) -> tuple[int, ...]:
    """Upstream's taps for this depth. InputError where upstream has none."""
    if depth not in DEFAULT_TAPS:
        known = ", ".join(str(d) for d in DEFAULT_TAPS)
        raise InputError(f"no default taps for {depth} blocks (known: {known}): name the four blocks with --taps")
    return DEFAULT_TAPS[depth]
