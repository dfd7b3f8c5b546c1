"""How much a request may hold, and which limits make sense."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import InputError
from segdino_deploy.serve.options import ServeOptions
from tests.serve.conftest import INFER, POST_INFER, Address, binary_request, post, raw, serving

UInt8 = NDArray[np.uint8]


@pytest.fixture(scope="module")
def small(polyp: Runner) -> Iterator[Address]:
    with serving({"polyp": polyp}, ServeOptions(max_request_mib=0.25)) as address:
        yield address


def test_a_request_that_says_it_is_too_large_is_refused_unread(small: Address) -> None:
    answer = raw(small, POST_INFER + b"Content-Length: 262145\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_request_is_refused_where_it_becomes_too_large(small: Address) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"  # it has no end
    answer = raw(small, POST_INFER + b"Transfer-Encoding: chunked\r\n\r\n" + 5 * chunk)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_request_of_exactly_the_limit_is_read(small: Address) -> None:
    answer = raw(small, POST_INFER + b"Content-Length: 262144\r\n\r\n" + b"x" * 262144)

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_chunked_request_is_as_good_as_another(server: Address, images: UInt8) -> None:
    body, headers = binary_request(images[:1])
    pieces = (body[begin : begin + 1000] for begin in range(0, len(body), 1000))

    assert httpx.post(server(INFER), content=pieces, headers=headers).content == post(server, images[:1]).content


@pytest.fixture(scope="module")
def server(polyp: Runner) -> Iterator[Address]:
    with serving({"polyp": polyp}, ServeOptions(max_request_mib=1)) as address:
        yield address


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [  # whose times are in the file, so that they make no names
        pytest.param(gzip.compress(bytes(2**20 + 1)), "gzip", 413, id="a-thousandth-of-what-it-becomes"),
        pytest.param(gzip.compress(gzip.compress(bytes(2**26))), "gzip", 400, id="what-it-becomes-is-no-json"),
        pytest.param(gzip.compress(b"{}")[:-1], "gzip", 400, id="cut-off"),
        pytest.param(gzip.compress(b"{}") + b"{}", "gzip", 400, id="more-follows"),
        pytest.param(b"{}", "gzip", 400, id="not-compressed"),
        pytest.param(b"", "gzip", 400, id="nothing"),
        pytest.param(b"{}", "br", 400, id="another-encoding"),
    ],
)
def test_compressed_bodies_are_bounded_and_whole(body: bytes, encoding: str, status: int, server: Address) -> None:
    answer = httpx.post(server(INFER), content=body, headers={"Content-Encoding": encoding})

    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_compressed_bomb_is_not_unpacked(server: Address) -> None:
    bomb = gzip.compress(bytes(2**26))
    tracemalloc.start()
    try:
        answer = httpx.post(server(INFER), content=bomb, headers={"Content-Encoding": "gzip"})
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer.status_code == 413
    assert peak_bytes < 2**23


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"port": -1}, "--port: -1 is not between 0 and 65535"),
        ({"port": 65536}, "--port: 65536 is not between"),
        ({"max_batch": 0}, "--max-batch: 0 is not between 1 and"),
        ({"batch_delay_ms": -1}, "--batch-delay-ms: -1 is not between 0 and"),
        ({"batch_delay_ms": float("nan")}, "--batch-delay-ms: nan is not between"),
        ({"batch_delay_ms": 500, "deadline_seconds": 0.5}, "would wait beyond --deadline-seconds 0.5"),
        ({"max_queue": 0}, "--max-queue: 0 is not between 1 and"),
        ({"max_pixels": 0}, "--max-pixels: 0 is not between 1 and 178956970"),
        ({"max_pixels": 178956971}, "--max-pixels: 178956971 is not between"),
        ({"max_request_mib": 0}, "--max-request-mib: 0 is not between"),
        ({"max_request_mib": float("inf")}, "--max-request-mib: inf is not between"),
        ({"deadline_seconds": 0}, "--deadline-seconds: 0 is not between"),
        ({"deadline_seconds": float("inf")}, "--deadline-seconds: inf is not between"),
        ({"drain_seconds": -1}, "--drain-seconds: -1 is not between 0 and 86400"),
        ({"drain_seconds": 10**400}, "--drain-seconds: "),
    ],
)
def test_limits_that_make_no_sense_are_refused(changes: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ServeOptions(**changes)  # type: ignore[arg-type]
