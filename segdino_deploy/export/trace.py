"""From the folded module to an ONNX model that keeps the contract: `image` in; per head `mask`, `probability` and
`logits` out.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import torch

from segdino_deploy.errors import CheckFailed, InputError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.export.names import name_by_scope
from segdino_deploy.manifest import BatchRange

OPSET = 20  # LayerNormalization and Gelu are single operators; TensorRT 10.3 on reads it
PROTOBUF_LIMIT_BYTES = 2**31 - 1
# onnxsim would turn MatMul + Add into Reshape + Gemm + Reshape: two more nodes, and no backend asks for it.
SKIPPED_OPTIMIZERS = ["fuse_matmul_add_bias_into_gemm", "fuse_matmul_add_bias_into_gemm_batched"]
DYNAMIC_SHAPE_OPERATORS = ("If", "Loop", "Tile", "Shape", "NonZero")


def trace_checked(
    module: torch.nn.Module, input_hw: tuple[int, int], batch: BatchRange, output_names: Sequence[str]
) -> onnx.ModelProto:
    """`trace`, then ONNX's checker. CheckFailed where an operator is left that a static graph must not have."""
    return check_graph(trace(module, input_hw, batch, output_names), batch)


def trace(
    module: torch.nn.Module, input_hw: tuple[int, int], batch: BatchRange, output_names: Sequence[str]
) -> onnx.ModelProto:
    """Exports with all outputs of the module (`output_names`, in its order) and simplifies.

    `module` takes uint8 `[N, H, W, 3]` with (H, W) = `input_hw`.

    The batch is a constant where `batch.is_fixed`, else the symbolic dimension `N`.
    """
    weight_bytes = sum(p.numel() * p.element_size() for p in module.parameters())
    if weight_bytes > PROTOBUF_LIMIT_BYTES:
        raise InputError(
            f"{weight_bytes / 2**30:.1f} GiB of weights: ONNX holds 2 GiB in one file, all this version writes"
        )
    example_batch = batch.max if batch.is_fixed else 2  # torch.export would specialise a dynamic batch of 1
    image = torch.zeros(example_batch, *input_hw, 3, dtype=torch.uint8)
    dynamic_shapes = None if batch.is_fixed else ({0: torch.export.Dim("N", min=1, max=65535)},)
    return trace_module(module, (image,), [INPUT], output_names, dynamic_shapes)


def trace_module(
    module: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_shapes: Any = None,
) -> onnx.ModelProto:
    """PyTorch's exporter, nodes named by their module, nothing of the machine kept, then onnxsim."""
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=dynamic_shapes,
            verbose=False,
        )
    assert program is not None
    return simplify(without_traces(name_by_scope(program.model_proto)))


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxsim: constants folded, identities and shape arithmetic removed."""
    import onnxsim

    simplified: onnx.ModelProto = onnxsim.simplify(model, skipped_optimizers=SKIPPED_OPTIMIZERS)[0]
    return simplified


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drops what the exporter notes about the source: stack traces with paths of the machine that exported."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        del value.metadata_props[:]
        value.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.producer_name = "segdino-deploy"
    model.producer_version = ""
    return model


def check_graph(model: onnx.ModelProto, batch: BatchRange) -> onnx.ModelProto:
    """Runs ONNX's checker with full shape inference, and refuses operators that TensorRT cannot take here."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise CheckFailed(f"ONNX's checker refuses the exported graph: {one_line(error)}") from error
    refused = DYNAMIC_SHAPE_OPERATORS if batch.is_fixed else DYNAMIC_SHAPE_OPERATORS[:3]
    for node in model.graph.node:
        if node.op_type in refused:
            raise CheckFailed(
                f"the exported graph has {node.op_type} ({node.name}), which a static graph must not have"
            )
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about torchvision, which is not used, and prints its progress: neither is for our users."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
