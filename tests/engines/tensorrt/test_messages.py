"""TensorRT's own words as one line with a cure, from the real parser and builder."""

from __future__ import annotations

import pytest

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, TensorRtModule
from segdino_deploy.engines.tensorrt.messages import Messages, parser_failure
from tests.engines.tensorrt.helpers import parse, product_model, small_network

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
FLAVOUR = FLAVOURS["tensorrt-rtx"]


@pytest.fixture(scope="module")
def api() -> TensorRtModule:
    return FLAVOUR.load()


def test_an_operator_that_the_parser_does_not_know_is_named_with_its_node_and_a_cure(api: TensorRtModule) -> None:
    model = product_model()
    model.graph.node[1].op_type = "MatMulInteger32"  # no such operator
    _, _, parser, parsed = parse(api, Messages(api), model)

    assert not parsed
    said = str(parser_failure(parser, FLAVOUR, api.__version__))
    assert said.startswith(f"TensorRT-RTX {api.__version__} cannot read the model: head/product (MatMulInteger32): ")
    assert said.endswith(
        "this operator cannot be built: export the checkpoint anew with this version, or use another backend"
    )
    assert "\n" not in said


def test_too_small_a_workspace_names_its_option(api: TensorRtModule) -> None:
    messages = Messages(api)
    builder, network, _keep = small_network(api, messages)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, 1)

    assert builder.build_serialized_network(network, config) is None

    said = str(messages.failure("cannot build the engine", FLAVOUR, "1.7"))
    assert said.startswith("TensorRT-RTX 1.7 cannot build the engine: ")
    assert said.endswith("; give it more with --workspace MIB")
    assert "\n" not in said


def test_warnings_go_into_the_receipt_once_and_are_no_errors(api: TensorRtModule) -> None:
    messages = Messages(api)
    severity = api.ILogger.Severity
    for _ in range(2):
        messages.logger.log(severity.WARNING, "slow")
        messages.logger.log(severity.INFO, "chatter")
    messages.logger.log(severity.INTERNAL_ERROR, "broken")

    assert messages.for_receipt == ["slow"]
    assert messages.errors == ["broken"]


def test_a_failure_without_a_message_says_so(api: TensorRtModule) -> None:
    assert str(Messages(api).failure("cannot open it", FLAVOUR, "1.7")).endswith("cannot open it: it gives no reason")


def test_messages_go_to_the_newest_of_several_that_live(api: TensorRtModule) -> None:
    # one logger per process: without it, the second builder's errors would be kept for the first one
    first = Messages(api)
    _builder, _network, _keep = small_network(api, first)
    second = Messages(api)
    builder, network, _keep_too = small_network(api, second)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, 1)
    assert builder.build_serialized_network(network, config) is None

    assert second.errors and not first.errors
    assert not any("logger" in message for message in second.warnings)
    del second
    first.logger.log(api.ILogger.Severity.ERROR, "for the first again")
    assert first.errors == ["for the first again"]
