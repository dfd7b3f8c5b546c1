"""Engines without weights get them from the bundle's ONNX file when they are opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.numpy_helper import from_array

from segdino_deploy.engines.tensorrt import loading
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.loading import LoadedEngine
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.manifest import LoweringRecord
from tests.engines.tensorrt import refitting
from tests.engines.tensorrt.helpers import engine_record


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder that counts as a bundle, with a place for the engine."""
    path = tmp_path / "b.segdino"
    (path / "engines").mkdir(parents=True)
    (path / "manifest.json").write_text("{}")
    return path


def test_a_stripped_engine_takes_its_weights_from_the_bundle(bundle: Path) -> None:
    engine = engine_record("tensorrt-rtx", "1.7.1", strip_weights=True)
    path = bundle / "engines" / "x.rtx"
    with pytest.raises(MissingComponent, match=r"holds no weights, and .*model.fp16.onnx with them is not there"):
        loading._source(engine, path)

    (bundle / "model.fp16.onnx").write_bytes(b"in the bundle")
    assert loading._spelled(loading._source(engine, path), engine) == b"in the bundle"

    (bundle / "engines" / "model.fp16.onnx").write_bytes(b"beside, while it is built")
    assert loading._spelled(loading._source(engine, path), engine) == b"beside, while it is built"


def test_they_are_in_the_engine_before_it_runs(bundle: Path) -> None:
    api: Any = refitting.API
    engine = engine_record("tensorrt", "10.9.0", strip_weights=True)
    path = bundle / "engines" / "x.plan"
    empty, full = (
        helper.make_model(
            helper.make_graph([], "g", [], [], [from_array(np.full(9, value, np.float32), name) for name in "ab"])
        )
        for value in (0, 1)
    )
    messages = Messages(api)
    stripped: Any = refitting.Engine(refitting.engine_of(empty, ["a", "b"], fused={"a": "b", "b": "a"}))
    loaded = LoadedEngine(api, FLAVOURS["tensorrt"], messages, None, None)

    onnx.save(full, bundle / "model.fp16.onnx")
    loading._bring_weights(loaded, stripped, engine, path)
    assert refitting.weights_in(stripped.stored()) == {t.name: t.raw_data for t in full.graph.initializer}

    del full.graph.initializer[1]
    onnx.save(full, bundle / "model.fp16.onnx")
    with pytest.raises(SegdinoDeployError, match=r"cannot bring the weights of .*model.fp16.onnx into .*build it here"):
        loading._bring_weights(loaded, stripped, engine, path)


def test_its_weights_come_with_the_names_that_the_engine_knows(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Gelu", ["x"], ["y"], "gelu")], "g", [value], [result])
    source = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), source)
    engine = engine_record("tensorrt-rtx", "1.7.1", strip_weights=True)
    records = [
        LoweringRecord(part="qkv", chosen="as exported"),
        LoweringRecord(part="gelu", chosen="gelu-erf"),
    ]
    lowered = engine.model_copy(update={"lowering": records})

    as_built = onnx.load_from_string(loading._spelled(source, lowered))

    assert loading._spelled(source, engine) == source.read_bytes()
    assert {"Erf"} <= {node.op_type for node in as_built.graph.node}
    assert "Gelu" not in {node.op_type for node in as_built.graph.node}
