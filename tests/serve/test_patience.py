"""Clients that take their time: slow ones, idle ones, and those that never read their answers."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput

from segdino_deploy.engines.run import Runner
from segdino_deploy.serve.options import ServeOptions
from tests.serve.conftest import POST_INFER, HeldRunner, metric, raw, serving, spoken, wait_until

UInt8 = NDArray[np.uint8]
ENDPOINT = "/v2/models/{name}/infer"


def trickle(slow: socket.socket) -> bool:
    """Whether the server ends a connection that goes on byte by byte, each sooner than its patience."""
    slow.settimeout(0.1)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            slow.sendall(b"x")
            if not slow.recv(65536):
                return True
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            return True
    return False


def test_a_body_that_does_not_come_is_given_up(polyp: Runner) -> None:
    with serving({"polyp": polyp}, ServeOptions(body_seconds=0.3)) as address:
        answer = raw(address, POST_INFER + b"Content-Length: 1000\r\n\r\n{")
        assert metric(address, "segdino_held_requests") == 0

    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("begun", [b"", b"GET /v2 HT", POST_INFER + b"X-Slow: "])
def test_a_head_that_does_not_come_whole_ends_the_connection(begun: bytes, polyp: Runner) -> None:
    with (
        serving({"polyp": polyp}, ServeOptions(idle_seconds=0.5)) as address,
        socket.create_connection((address.host, address.port)) as slow,
    ):
        slow.sendall(begun)
        assert trickle(slow)


def test_a_body_that_nobody_wants_is_not_read_for_ever(polyp: Runner) -> None:
    with (
        serving({"polyp": polyp}, ServeOptions(idle_seconds=1, max_request_mib=0.2)) as address,
        socket.create_connection((address.host, address.port)) as slow,
    ):
        slow.sendall(POST_INFER + b"Content-Length: 99999999\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 413"
        assert trickle(slow)


MANY = np.zeros((1000, 64, 96, 3), np.uint8)  # whose masks are more than the system's own buffers hold
LARGE = ServeOptions(max_request_mib=32, max_queue=1000)


def received_late(held: HeldRunner, options: ServeOptions, *behind: bytes) -> bytes:
    """What still comes, of a large answer and those to what was sent behind its request, to a client that begins to
    read a second and a half after the first answer was given.
    """
    held.may_go_on.set()
    with serving({"polyp": held}, options) as address, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((address.host, address.port))
        deaf.sendall(b"".join([spoken(MANY, is_last=not behind), *behind]))
        wait_until(lambda: metric(address, "segdino_requests_total", status="200", endpoint=ENDPOINT) >= 1)
        time.sleep(1.5)
        pieces = [str(sum(map(len, held.batches))).encode()]
        with suppress(ConnectionResetError):
            while piece := deaf.recv(65536):
                pieces.append(piece)
    return b"".join(pieces)


def test_an_answer_is_kept_for_a_reader_who_is_late(held: HeldRunner) -> None:
    assert len(received_late(held, LARGE)) > MANY[..., 0].size  # with its head


def test_an_answer_that_nobody_reads_is_given_up(held: HeldRunner) -> None:
    assert len(received_late(held, replace(LARGE, idle_seconds=0.5))) < MANY[..., 0].size


def test_answers_that_nobody_reads_do_not_pile_up(held: HeldRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segdino_deploy.serve.protocol.MAX_UNREAD_BYTES", 2**20)

    assert len(received_late(held, LARGE)) < MANY[..., 0].size


def test_the_request_behind_an_answer_waits_until_that_is_read(held: HeldRunner, images: UInt8) -> None:
    received = received_late(held, LARGE, spoken(images[:1]))

    assert received.startswith(b"1000HTTP")  # images that were run before it began to read
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.endswith(images[0, ..., 0].tobytes())


def test_a_client_with_more_requests_is_given_up_all_the_same(held: HeldRunner, images: UInt8) -> None:
    received = received_late(held, replace(LARGE, idle_seconds=0.5), spoken(images[:1]))

    assert len(received) < MANY[..., 0].size


def test_a_request_behind_another_may_take_longer_than_its_client_may_idle(held: HeldRunner, images: UInt8) -> None:
    with (
        serving({"polyp": held}, ServeOptions(idle_seconds=0.5)) as address,
        socket.create_connection((address.host, address.port), 20) as connection,
    ):
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n" + spoken(images[:1]))
        assert held.is_running.wait(20)
        time.sleep(1)
        held.may_go_on.set()
        answers = b""
        while piece := connection.recv(65536):
            answers += piece

    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.endswith(images[0, ..., 0].tobytes())


def test_tritonclient_goes_on_after_its_connection_was_idle_for_too_long(polyp: Runner, images: UInt8) -> None:
    image = InferInput("image", [1, 64, 96, 3], "UINT8").set_data_from_numpy(images[:1])
    with (
        serving({"polyp": polyp}, ServeOptions(idle_seconds=1)) as address,
        InferenceServerClient(address.netloc) as client,
    ):
        first = client.infer("polyp", [image]).as_numpy("mask")
        time.sleep(2)
        assert (client.infer("polyp", [image]).as_numpy("mask") == first).all()


def test_too_many_connections_are_closed_at_once(polyp: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segdino_deploy.serve.protocol.MAX_CONNECTIONS", 3)
    with serving({"polyp": polyp}) as address:
        opened = [socket.create_connection((address.host, address.port)) for _ in range(3)]
        for connection in opened:  # each of them is there
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert raw(address, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        for connection in opened:
            connection.close()


@pytest.mark.parametrize(("is_after_answer", "status"), [(False, b"400"), (True, b"401")])
def test_what_is_no_http_leaves_no_trace_in_the_log(
    is_after_answer: bool, status: bytes, polyp: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """Else whoever is not let in could fill the disk."""
    with (
        serving({"polyp": polyp}, ServeOptions(token="0123456789abcdef-secret")) as address,
        socket.create_connection((address.host, address.port), 20) as connection,
        suppress(ConnectionResetError),
    ):
        head, no_chunk = POST_INFER + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"
        connection.sendall(head if is_after_answer else head + no_chunk)
        assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)
        if is_after_answer:
            connection.sendall(no_chunk)
        while connection.recv(65536):
            pass

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
