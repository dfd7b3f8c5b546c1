"""Every name of TensorRT that this package uses exists in TensorRT-RTX and in the stubs of TensorRT 10.

mypy checks the calls against the stubs (see `tests.typings`); here the same names are looked up in the module itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import segdino_deploy
from segdino_deploy.engines.tensorrt.flavours import TensorRtModule
from tests.typings import stubs

rtx: Any = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
pytest.importorskip("tensorrt_stubs", reason="tensorrt-stubs is not installed; make test installs it")
PACKAGE = Path(segdino_deploy.__file__).parent / "engines"
SOURCES = [*sorted((PACKAGE / "tensorrt").glob("*.py")), PACKAGE / "build" / "tensorrt.py"]
ONLY_RTX = {  # of TensorRT-RTX alone, used behind `Flavour.options`
    "ComputeCapability",
    "num_compute_capabilities",
    "set_compute_capability",
}


def classes_of_stubs() -> dict[str, set[str]]:
    """Names of attributes by class, with those of its bases."""
    found: dict[str, set[str]] = {}
    for node in ast.parse(stubs()).body:
        if isinstance(node, ast.ClassDef):
            names = {child.name for child in node.body if isinstance(child, ast.FunctionDef | ast.ClassDef)}
            names |= {c.target.id for c in node.body if isinstance(c, ast.AnnAssign) and isinstance(c.target, ast.Name)}
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            found[node.name] = names.union(*(found.get(base, set()) for base in bases))
    return found


def typed_names(function: ast.AST) -> dict[str, str]:
    """Arguments and assignments that are annotated `trt.X`: their names and X."""
    found = {}
    for node in ast.walk(function):
        annotation = getattr(node, "annotation", None)
        target = getattr(node, "arg", None) or getattr(getattr(node, "target", None), "id", None)
        if target and isinstance(annotation, ast.Attribute) and ast.unparse(annotation.value) == "trt":
            found[target] = annotation.attr
    return found


def uses() -> Iterator[tuple[str, str]]:
    """(class, attribute) for every attribute of an annotated object."""
    for source in SOURCES:
        for function in ast.walk(ast.parse(source.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            names = typed_names(function)
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
                    yield names[node.value.id], node.attr


def test_the_names_of_the_module_exist_in_both() -> None:
    names = [name for name in TensorRtModule.__annotations__ if not name.startswith("__")]
    known = classes_of_stubs()

    assert len(names) > 10
    assert [name for name in names if not hasattr(rtx, name)] == []
    assert [name for name in names if name not in known] == []


def test_every_call_of_an_annotated_object_exists_in_both() -> None:
    used, known = set(uses()), classes_of_stubs()

    assert len(used) > 20
    assert {("IBuilderConfig", "set_flag"), ("INetworkDefinition", "get_layer")} <= used
    assert sorted(f"{kind}.{name}" for kind, name in used if not hasattr(getattr(rtx, kind), name)) == []
    missing = {f"{kind}.{name}" for kind, name in used if name not in known[kind] and name not in ONLY_RTX}
    assert missing == set()


def test_flags_and_levels_that_are_named_as_text_exist() -> None:
    for flag in ("TF32", "VERSION_COMPATIBLE", "REFIT_INDIVIDUAL", "STRIP_PLAN", "GPU_FALLBACK"):
        assert hasattr(rtx.BuilderFlag, flag)
    for level in ("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"):
        assert hasattr(rtx.HardwareCompatibilityLevel, level)
    known = classes_of_stubs()
    assert {"TF32", "VERSION_COMPATIBLE", "REFIT_INDIVIDUAL", "STRIP_PLAN", "GPU_FALLBACK"} <= known["BuilderFlag"]
    assert {"AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"} <= known["HardwareCompatibilityLevel"]


def test_what_is_listed_as_a_difference_is_one() -> None:
    text = stubs()
    assert [name for name in sorted(ONLY_RTX) if name in text] == []
    assert hasattr(rtx, "ComputeCapability") and hasattr(rtx.IBuilderConfig, "set_compute_capability")
