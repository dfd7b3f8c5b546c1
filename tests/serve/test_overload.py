"""What becomes of requests where the server is full, late, broken or about to end."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.types import Message
from tritonclient.http import InferenceServerClient

from segdino_deploy.engines.run import Runner
from segdino_deploy.serve.batching import Batcher
from segdino_deploy.serve.options import ServeOptions
from segdino_deploy.serve.refusals import ClientGone, Overloaded
from segdino_deploy.serve.requests import unless_gone
from tests.serve.conftest import Address, HeldRunner, binary_request, metric, post, raw, serving, wait_until

UInt8 = NDArray[np.uint8]


def test_a_queue_that_is_full_refuses_before_the_body_is_read(held: HeldRunner, images: UInt8) -> None:
    options = ServeOptions(max_queue=2)
    with serving({"polyp": held}, options) as address, ThreadPoolExecutor(2) as pool:
        inside = [pool.submit(post, address, images[:1]) for _ in range(2)]
        wait_until(lambda: metric(address, "segdino_held_requests") == 2)

        refused = post(address, images[:1])
        unread = raw(address, b"POST /v2/models/polyp/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
        held.may_go_on.set()

        assert [answer.result().status_code for answer in inside] == [200, 200]
        assert post(address, images[:1]).status_code == 200
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json() == {"error": "polyp: 2 requests are being worked on; try again"}
        assert unread.startswith(b"HTTP/1.1 503 ")
        assert metric(address, "segdino_shed_requests_total", model="polyp", reason="full") == 2
        assert metric(address, "segdino_requests_total", endpoint="/v2/models/{name}/infer", status="503") == 2


def test_the_clients_own_timeout_is_kept(held: HeldRunner, images: UInt8) -> None:
    with serving({"polyp": held}) as address:
        late = post(address, images[:1], timeout=50_000)  # microseconds
        held.may_go_on.set()

    assert (late.status_code, late.json()) == (503, {"error": "polyp: no answer within 0.05 s; try again"})


def test_a_client_that_goes_away_is_not_run(held: HeldRunner, images: UInt8) -> None:
    with serving({"polyp": held}) as address, ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, address, images[:1])
        assert held.is_running.wait(20)
        body, headers = binary_request(images[1:3])
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(address("/v2/models/polyp/infer"), content=body, headers=headers, timeout=0.2)
        wait_until(lambda: metric(address, "segdino_held_requests") == 1)
        last = pool.submit(post, address, images[3:4])
        wait_until(lambda: metric(address, "segdino_queue_images") == 1)
        held.may_go_on.set()

        assert (first.result().status_code, last.result().status_code) == (200, 200)
        assert metric(address, "segdino_requests_total", status="499") == 1
    assert [len(batch) for batch in held.batches] == [1, 1]
    assert (held.batches[1] == images[3:4]).all()


def test_what_comes_of_a_request_after_its_client_has_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """It would be a traceback in the log, that any client could put there."""

    async def go() -> Message:
        return {"type": "http.disconnect"}

    async def refuse_late() -> None:
        try:
            await asyncio.sleep(20)
        finally:
            raise Overloaded("nobody hears this")

    async def story() -> None:
        with pytest.raises(ClientGone):
            await unless_gone(Request({"type": "http"}, go), refuse_late())

    asyncio.run(story())
    gc.collect()
    assert caplog.records == []


def test_an_engine_that_fails_is_a_500_and_the_server_goes_on(held: HeldRunner, images: UInt8) -> None:
    held.may_go_on.set()
    with serving({"polyp": held}) as address:
        held.fails = True
        failed = post(address, images[:1])
        held.fails = False

        assert (failed.status_code, post(address, images[:1]).status_code) == (500, 200)
    assert failed.json() == {"error": "held fp32 engine failed: the device has caught fire"}


def test_a_fault_of_the_servers_own_is_a_500_that_is_counted(
    held: HeldRunner, images: UInt8, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held.may_go_on.set()
    with serving({"polyp": held}) as address:
        with monkeypatch.context() as patched:
            patched.setattr("segdino_deploy.serve.routes.write_response", lambda *_: 1 / 0)
            failed = post(address, images[:1])

        assert (failed.status_code, post(address, images[:1]).status_code) == (500, 200)
        assert metric(address, "segdino_requests_total", endpoint="/v2/models/{name}/infer", status="500") == 1
    assert failed.json() == {"error": "unexpected ZeroDivisionError; the server's log has it"}
    assert "Exception in ASGI application" in caplog.text


def test_requests_that_are_there_at_the_end_are_finished(held: HeldRunner, images: UInt8) -> None:
    with ThreadPoolExecutor(4) as pool:
        with serving({"polyp": held}) as address:
            inside = [pool.submit(post, address, images[:1]) for _ in range(3)]
            wait_until(lambda: metric(address, "segdino_held_requests") == 3)
            pool.submit(let_go_when_refused, held, address)
        assert [answer.result().status_code for answer in inside] == [200] * 3


def let_go_when_refused(held: HeldRunner, address: Address) -> None:
    """The server has begun to stop when nobody is let in any more."""
    try:
        wait_until(lambda: raw(address, b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n") == b"refused")
    finally:
        held.may_go_on.set()


def test_what_is_not_finished_in_the_drain_time_is_told_so(held: HeldRunner, images: UInt8) -> None:
    with ThreadPoolExecutor(2) as pool:
        with serving({"polyp": held}, ServeOptions(drain_seconds=1)) as address:
            inside = [pool.submit(post, address, images[:1]) for _ in range(2)]
            wait_until(lambda: metric(address, "segdino_held_requests") == 2)
            inside[0].add_done_callback(lambda _: held.may_go_on.set())
        for answer in inside:
            assert (answer.result().status_code, answer.result().headers["Retry-After"]) == (503, "1")
            assert answer.result().json() == {"error": "the server is shutting down"}


def test_a_model_that_cannot_run_any_more_is_not_ready(
    polyp: Runner, held: HeldRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Batcher._take
    monkeypatch.setattr(Batcher, "_take", lambda self: take(self) if self._runner is polyp else 1 / 0)
    with serving({"polyp": polyp, "broken": held}) as address, InferenceServerClient(address.netloc) as client:
        ready = client.is_server_ready(), client.is_model_ready("broken")
        late = post(address, np.zeros((1, 64, 96, 3), np.uint8), "broken", timeout=200_000)
        answer = httpx.get(address("/v2/health/ready"))

        assert (ready, late.status_code) == ((True, True), 503)
        assert not client.is_server_ready()
        assert not client.is_model_ready("broken")
        assert client.is_model_ready("polyp")
        assert client.is_server_live()
    says = "broken takes no more requests: start the server anew; its log says why"
    assert (answer.status_code, answer.json()) == (400, {"error": says})
