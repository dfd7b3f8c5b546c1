"""What is this file? Checkpoint, ONNX model, engine or bundle, as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdino_deploy.bundle import Bundle, is_bundle
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import Manifest

ENGINE_SUFFIXES = (".xml", ".bin", ".plan", ".rtx", ".onnx")


def inspect_path(path: Path) -> dict[str, Any]:
    """A description with a `kind`. Raises InputError for what is none of the four."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        if not is_bundle(path):
            raise InputError(f"{path}: a folder, but no bundle (no manifest.json)")
        return _describe_bundle(Bundle.open(path))
    home = next((parent for parent in path.absolute().parents if is_bundle(parent)), None)
    if home is not None and path.suffix in ENGINE_SUFFIXES:
        bundle = Bundle.open(home)
        name = path.absolute().relative_to(home.absolute()).as_posix()
        for engine in bundle.manifest.engines.values():
            if name in (engine.file, *engine.companions):
                return {"kind": "engine", "bundle": home.name, **engine.model_dump(mode="json")}
    if path.suffix == ".onnx":
        return _describe_onnx(path)
    if path.suffix in (".plan", ".rtx", ".xml", ".bin"):
        raise InputError(f"{path}: an engine outside its bundle says nothing about itself; inspect it in the bundle")
    return _describe_checkpoint(path)


def _describe_bundle(bundle: Bundle) -> dict[str, Any]:
    manifest: Manifest = bundle.manifest
    return {
        "kind": "bundle",
        "model": manifest.model.model_dump(mode="json"),
        "onnx": {name: model.model_dump(mode="json") for name, model in manifest.onnx.items()},
        "engines": {name: engine.model_dump(mode="json") for name, engine in manifest.engines.items()},
        "size_bytes": sum(record.size_bytes for record in manifest.files.values()),
        "files": len(manifest.files),
        "tool_version": manifest.tool_version,
    }


def _describe_onnx(path: Path) -> dict[str, Any]:
    from segdino_deploy.export.graph import load_onnx, operator_counts, read_card
    from segdino_deploy.receipts import weight_products_by_type

    model = load_onnx(path)
    card = read_card(model, path)
    return {
        "kind": "onnx",
        "model": card.model_dump(mode="json"),
        "nodes": len(model.graph.node),
        "weight_products": weight_products_by_type(model),
        "operators": operator_counts(model.graph.node),
    }


def _describe_checkpoint(path: Path) -> dict[str, Any]:
    from segdino_deploy.requirements import require_module

    require_module("torch", "reading checkpoints", extra="export")
    from segdino_deploy.model.checkpoint import load_segdino, read_checkpoint
    from segdino_deploy.model.families import DEFAULT_TAPS, detect_family, infer_vit

    checkpoint = read_checkpoint(path)
    family = detect_family(checkpoint.head)
    result: dict[str, Any] = {"kind": "checkpoint", "family": family.name}
    if not checkpoint.backbone:
        return result | {"backbone": None, "note": "head only: export it with --backbone-weights"}
    vit = infer_vit(checkpoint.backbone)
    # A depth without default taps still loads; which blocks feed the head is then the user's to say.
    taps = DEFAULT_TAPS.get(vit.depth)
    model = load_segdino(path, taps=taps or range(4))
    result["num_classes"] = model.num_classes
    result["taps"] = None if taps is None else list(taps)
    result["backbone"] = vars(vit) | {"head_dim": vit.head_dim}
    result["parameters"] = sum(p.numel() for p in model.parameters())
    result["head_parameters"] = sum(p.numel() for p in model.head.parameters())
    return result
