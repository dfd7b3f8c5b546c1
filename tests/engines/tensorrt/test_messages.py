"""TensorRT's own words as one line with a cure, from the real parser and builder."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, WORKSPACE_CURES, TensorRtModule
from segdino_deploy.engines.tensorrt.messages import Messages, parser_failure
from tests.engines.tensorrt.helpers import parse, product_model, small_network

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
FLAVOUR = FLAVOURS["tensorrt-rtx"]
PATIENCE = 20.0  # seconds


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

    said = str(messages.failure("cannot build the engine", FLAVOUR, "1.7", WORKSPACE_CURES))
    assert said.startswith("TensorRT-RTX 1.7 cannot build the engine: ")
    assert said.endswith("; give it more with --workspace MIB")
    assert "\n" not in said


@pytest.mark.parametrize(
    "said", ["Could not find any implementation for node {ForeignNode[a...b]}.", "x within workspace limit y"]
)
def test_the_workspace_is_the_cure_only_where_a_limit_was_set(said: str, api: TensorRtModule) -> None:
    messages = Messages(api)
    for cures, end in ((WORKSPACE_CURES, f"{said}; give it more with --workspace MIB"), ((), said)):
        messages.logger.log(api.ILogger.Severity.ERROR, said)
        assert str(messages.failure("cannot build the engine", FLAVOUR, "1.7", cures)).endswith(f": {end}")


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


def fail_to_build(api: TensorRtModule, messages: Messages) -> str:
    """A build that TensorRT refuses, and the error that is made of it."""
    builder, network, _keep = small_network(api, messages)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, 1)
    assert builder.build_serialized_network(network, config) is None
    return str(messages.failure("cannot build the engine", FLAVOUR, "1.7"))


def test_a_failure_is_told_where_it_happened_whoever_came_later(api: TensorRtModule) -> None:
    first = Messages(api)
    second = Messages(api)  # which is newer, and has nothing to do with it

    said = fail_to_build(api, first)

    assert "within workspace limit" in said
    assert not any("logger" in message for message in second.warnings)


def test_a_failure_is_never_taken_for_another_threads(api: TensorRtModule) -> None:
    messages = Messages(api)
    error = api.ILogger.Severity.ERROR

    with ThreadPoolExecutor(1) as thread:
        thread.submit(messages.logger.log, error, "of the other caller").result(PATIENCE)
        assert str(messages.failure("cannot run", FLAVOUR, "1.7")).endswith("cannot run: it gives no reason")
        messages.logger.log(error, "mine")
        theirs = thread.submit(messages.failure, "cannot run", FLAVOUR, "1.7").result(PATIENCE)

    assert str(theirs).endswith(": of the other caller")
    assert str(messages.failure("cannot run", FLAVOUR, "1.7")).endswith(": mine")


def test_what_threads_of_tensorrts_own_say_belongs_to_who_waits_for_them(api: TensorRtModule) -> None:
    messages = Messages(api)
    error = api.ILogger.Severity.ERROR
    outside_threading(lambda: messages.logger.log(error, "in a worker"))
    assert str(messages.failure("cannot build", FLAVOUR, "1.7")).endswith(": in a worker")

    outside_threading(lambda: messages.logger.log(error, "in a worker"))
    messages.logger.log(error, "in the calling thread")
    assert messages.errors == ["in the calling thread", "in a worker"]


def outside_threading(call: Callable[[], object]) -> None:
    """On a thread that the module `threading` has not started, as those of a C++ library are."""
    done = threading.Lock()
    done.acquire()

    def run() -> None:
        try:
            call()
        finally:
            done.release()

    _thread.start_new_thread(run, ())
    assert done.acquire(timeout=PATIENCE)


def test_what_was_said_before_is_not_the_reason_of_a_later_failure(api: TensorRtModule) -> None:
    messages = Messages(api)
    error = api.ILogger.Severity.ERROR
    messages.logger.log(error, "of a question that was answered")
    messages.listen()
    messages.logger.log(error, "broken")

    assert str(messages.failure("cannot run", FLAVOUR, "1.7")).endswith(": broken")
    assert str(messages.failure("cannot run", FLAVOUR, "1.7")).endswith(": it gives no reason")
    assert Messages(api).errors == []
