"""Requests that nobody would write: from the server's own schema, and from valid ones that were damaged.

Whatever comes, the answer is one that the schema knows, and the server goes on: no status 500, nothing in the log.
"""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from segdino_deploy.engines.run import Runner
from segdino_deploy.serve.options import ServeOptions
from segdino_deploy.serve.wire import HEADER_LENGTH
from tests.serve.conftest import (
    INFER,
    Address,
    binary_request,
    encoded,
    metric,
    post,
    result,
    serving,
    wait_until,
)

UInt8 = NDArray[np.uint8]
REFUSED = {400, 404, 405, 408, 413, 503}


@pytest.fixture(scope="module")
def server(polyp: Runner) -> Iterator[Address]:
    """A body that does not come is soon given up: damaged lengths promise many."""
    with serving({"polyp": polyp}, ServeOptions(body_seconds=1, max_request_mib=1)) as address:
        yield address


@pytest.fixture(autouse=True)
def unharmed(server: Address, polyp: Runner, images: UInt8, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test."""
    yield
    assert (result(post(server, images[:1])).as_numpy("mask") == polyp.run({"image": images[:1]})["mask"]).all()
    wait_until(lambda: metric(server, "segdino_held_requests") == 0)
    assert metric(server, "segdino_requests_total", status="500") == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_to_what_the_schema_allows_and_to_what_it_does_not_are_in_the_schema(
    mode: GenerationMode, server: Address
) -> None:
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    seen: set[tuple[str, int]] = set()
    with requests.Session() as session:
        for found in schemathesis.openapi.from_url(server("/openapi.json")).get_all_operations():
            operation = found.ok()
            if mode is GenerationMode.NEGATIVE and not (list(operation.iter_parameters()) or operation.body):
                continue  # a request without parts cannot be wrong

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            def ask(case: schemathesis.Case) -> None:
                response = case.call(base_url=server(""), session=session)
                assert response.status_code in {200, *REFUSED}
                case.validate_response(response, checks=checks)
                seen.add((case.operation.path, response.status_code))

            ask()

    expected = {
        ("/v1/segment", 400),
        ("/v2/models/{name}/infer", 400),
        ("/v2/models/{name}/versions/{version}/infer", 400),
    }
    if mode is GenerationMode.POSITIVE:
        expected |= {("/v2", 200), ("/v2/models/{name}", 200), ("/v2/models/{name}/versions/{version}/ready", 200)}
    else:
        expected |= {("/v2/models/{name}", 404), ("/v2/models/{name}/versions/{version}/ready", 404)}
    assert expected <= seen


def damaged(body: bytes, json_bytes: int, rng: np.random.Generator) -> bytes:
    """A valid request with one to three wounds, most of them in its JSON."""
    whole = bytearray(body)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, json_bytes if rng.random() < 0.8 else len(whole)))
        kind = rng.integers(0, 5)
        if kind == 0:
            whole[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            del whole[at : at + int(rng.integers(1, 30))]
        elif kind == 2:
            whole[at:at] = rng.bytes(int(rng.integers(1, 30)))
        elif kind == 3:
            whole[at : at + 1] = rng.choice(
                [b"-", b"9" * 40, b"9" * 4298, b"[", b"]", b"{", b"null", b"true", b"1e999", b'"', b"\\u0"]
            )
        else:
            begin = int(rng.integers(0, json_bytes))
            whole[at:at] = whole[begin : begin + int(rng.integers(1, 200))]
        if not whole:
            break
    return bytes(whole)


def lengths(json_bytes: int, body_bytes: int, rng: np.random.Generator) -> str:
    """Mostly the right one."""
    others = [0, 1, json_bytes - 1, json_bytes + 1, body_bytes, body_bytes + 1, 2**31, 2**63, -1]
    if rng.random() < 0.6:
        return str(json_bytes)
    return str(rng.choice(others)) if rng.random() < 0.8 else str(rng.choice(["", "x", "0x10", "1.5", "9" * 400]))


def test_damaged_binary_requests_are_refused_or_run(server: Address, images: UInt8) -> None:
    rng = np.random.default_rng(0)
    body, headers = binary_request(images[:1], "mask", request_id="a1")
    json_bytes = int(headers[HEADER_LENGTH])
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    seen: dict[int, int] = {}
    for _ in range(1500):
        wounded = damaged(body, json_bytes, rng)
        head = {HEADER_LENGTH: lengths(json_bytes, len(wounded), rng)}
        if rng.random() < 0.05:
            head["Content-Encoding"] = str(rng.choice(["gzip", "deflate", "br", "identity"]))
        connection.request("POST", INFER, wounded, head)
        with connection.getresponse() as answer:
            content = answer.read()
        assert answer.status in {200, 400}, (wounded[:json_bytes], head, content)
        seen[answer.status] = seen.get(answer.status, 0) + 1
    connection.close()

    assert seen[200] > 20  # wounds in the pixels alone
    assert seen[400] > 500


def test_requests_that_are_cut_off_harm_nobody(server: Address, images: UInt8) -> None:
    rng = np.random.default_rng(0)
    body, headers = binary_request(images[:1])
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    whole = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
    for _ in range(100):
        with socket.create_connection((server.host, server.port), 20) as connection:
            connection.sendall(whole[: int(rng.integers(0, len(whole)))])
            if rng.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ended by a reset


def test_what_is_hardly_http_is_refused(server: Address, images: UInt8) -> None:
    """Damaged heads and chunks. Some of them make the server wait for more; then the client ends it."""
    body, headers = binary_request(images[:1])
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{HEADER_LENGTH}: {headers[HEADER_LENGTH]}\r\n".encode()
    whole = [head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, head + b"Content-Length: 5\r\n\r\nhello"]

    def answer_to(number: int) -> int | None:
        wounded = damaged(whole[number % 2], len(head) + 40, np.random.default_rng(number))
        with socket.create_connection((server.host, server.port), 1) as connection, suppress(OSError):
            connection.sendall(wounded)
            answer = connection.recv(4096)
            if answer:
                return int(answer.split(b" ", 2)[1])
        return None

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(answer_to, range(200)))

    assert set(statuses) <= {None, 100, 200, *REFUSED}
    assert len(statuses) - statuses.count(None) > 100


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what it reads all the same
def test_damaged_image_files_are_refused_or_run(server: Address) -> None:
    rng = np.random.default_rng(0)
    seen: dict[int, int] = {}
    with httpx.Client() as client:
        for kind in ("png", "jpeg", "tiff", "bmp", "webp"):
            whole = encoded(kind)
            for _ in range(60):
                wounded = damaged(whole, min(200, len(whole)), rng)
                status = client.post(server("/v1/segment"), content=wounded).status_code
                assert status in {200, 400, 413}, wounded
                seen[status] = seen.get(status, 0) + 1

    assert seen[400] > 50
