"""What a built engine itself computes in, where a GPU is there to open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdino_deploy.engines.tensorrt.flavours import TensorRtModule
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.receipt import inspected_receipt, require_inspected
from segdino_deploy.engines.tensorrt.runtime import open_runtime
from segdino_deploy.errors import CheckFailed, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard, Precision

if TYPE_CHECKING:
    import tensorrt as trt


def read_back(
    path: Path,
    api: TensorRtModule,
    messages: Messages,
    options: dict[str, object],
    card: ModelCard,
    precision: Precision,
) -> tuple[dict[str, Any], str]:
    """The receipt's part of it, and a note where the engine opens but cannot be read: that costs no engine.

    Nothing where this GPU is not the one that it was built for. CheckFailed where nothing in it is of `precision`.
    """
    try:
        runtime = open_runtime(api, messages, options)
        engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            return {}, ""
        information = _information(engine, api, card)
        receipt = inspected_receipt(information)
        require_inspected(information, precision, path.name)
    except CheckFailed:
        raise
    except Exception as error:  # the bindings' exceptions share no base, and the answer may be anything
        said = (
            f"the engine could not be read back, so that the receipt is of the parsed network alone: {one_line(error)}"
        )
        return {}, said
    return receipt, ""


def _information(engine: trt.ICudaEngine, api: TensorRtModule, card: ModelCard) -> str:
    inspector: trt.EngineInspector = engine.create_engine_inspector()
    if not card.batch.is_fixed:  # its layers are only known for a shape
        context: trt.IExecutionContext | None = engine.create_execution_context()
        if context is not None and context.set_input_shape(INPUT, (card.batch.opt, *card.input_size, 3)):
            inspector.execution_context = context
    return inspector.get_engine_information(api.LayerInformationFormat.JSON)
