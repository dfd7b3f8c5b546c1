"""An image file's mask over HTTP: the file that `predict` writes, within limits."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.engines.run import Runner
from segdino_deploy.engines.run.contract import Array
from segdino_deploy.manifest import ModelCard
from segdino_deploy.predict import plan_jobs, predict_files
from segdino_deploy.serve.options import ServeOptions
from segdino_deploy.serve.picture import Picture, read_picture
from tests.conftest import EXAMPLE
from tests.serve.conftest import Address, HeldRunner, encoded, metric, serving, wait_until

SLICE = sorted((EXAMPLE / "test" / "image").iterdir())[0]


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "bmp", "webp"])
def test_the_mask_is_the_file_that_predict_writes(kind: str, server: Address, polyp: Runner, tmp_path: Path) -> None:
    path = tmp_path / f"photo.{kind}"
    path.write_bytes(encoded(kind))
    [prediction] = predict_files(polyp, plan_jobs([path], tmp_path / "out"))

    answer = httpx.post(server("/v1/segment"), content=path.read_bytes())

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.content == prediction.target.mask.read_bytes()
    with Image.open(io.BytesIO(answer.content)) as mask:
        assert mask.size == ((150, 100) if kind == "bmp" else (100, 150))
        assert set(np.unique(np.asarray(mask))) == {0, 255}


class TwoHeads(HeldRunner):
    """`polyp` finds what is red, `tissue`, of three classes, what is green."""

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        return {
            "polyp.mask": (image_nhwc[..., 0] > 127).astype(np.uint8),
            "tissue.mask": (image_nhwc[..., 1] // 100).astype(np.uint8),
        }


def test_a_head_is_named_where_there_are_several(card: ModelCard, tmp_path: Path) -> None:
    only = card.heads[0].model_copy(update={"outputs": ["mask"]})
    heads = [only.model_copy(update={"name": name, "num_classes": n}) for name, n in (("polyp", 1), ("tissue", 3))]
    runner = TwoHeads(card.model_copy(update={"heads": heads}))
    (tmp_path / "photo.png").write_bytes(encoded("png"))
    predictions = predict_files(runner, plan_jobs([tmp_path / "photo.png"], tmp_path / "out", ["polyp", "tissue"]))
    with serving({"joint": runner}) as address:
        for prediction in predictions:
            answer = httpx.post(address(f"/v1/segment?head={prediction.target.head}"), content=encoded("png"))
            assert answer.content == prediction.target.mask.read_bytes()
        nameless = httpx.post(address("/v1/segment?model=joint"), content=encoded("png"))

    assert [set(prediction.pixels) for prediction in predictions] == [{0, 1}, {0, 1, 2}]
    assert (nameless.status_code, nameless.json()) == (400, {"error": "name a head of joint, ?head=...: polyp, tissue"})


@pytest.fixture
def slow_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDecoder]:
    """Takes one image at a time, and goes on when the test says so."""
    decoder = SlowDecoder()
    monkeypatch.setattr("segdino_deploy.serve.service.MAX_DECODERS", 1)
    monkeypatch.setattr("segdino_deploy.serve.segment_route.read_picture", decoder)
    yield decoder
    decoder.may_go_on.set()


class SlowDecoder:
    def __init__(self) -> None:
        self.images = 0
        self.may_go_on = threading.Event()

    def __call__(self, data: bytes, card: ModelCard, max_pixels: int) -> Picture:
        self.images += 1
        assert self.may_go_on.wait(20)
        return read_picture(data, card, max_pixels)


def test_the_deadline_is_for_decoding_too(polyp: Runner, slow_decoder: SlowDecoder) -> None:
    with serving({"polyp": polyp}, ServeOptions(deadline_seconds=0.3)) as address:
        late = httpx.post(address("/v1/segment"), content=encoded("png"), timeout=10)
        slow_decoder.may_go_on.set()

    assert (late.status_code, late.json()) == (503, {"error": "polyp: no answer within 0.3 s; try again"})


def test_what_nobody_waits_for_any_more_is_not_decoded(polyp: Runner, slow_decoder: SlowDecoder) -> None:
    photo = encoded("png")
    request = f"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Length: {len(photo)}\r\n\r\n".encode() + photo
    with serving({"polyp": polyp}) as address, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, address("/v1/segment"), content=photo, timeout=30)
        wait_until(lambda: slow_decoder.images == 1)
        for _ in range(4):
            with socket.create_connection((address.host, address.port)) as gone:
                gone.sendall(request)
        wait_until(lambda: metric(address, "segdino_requests_total", endpoint="/v1/segment", status="499") == 4)
        last = pool.submit(httpx.post, address("/v1/segment"), content=photo, timeout=30)
        slow_decoder.may_go_on.set()

        assert [answer.result().status_code for answer in (first, last)] == [200, 200]
    assert slow_decoder.images == 2


def test_an_unknown_model_is_404_and_an_unknown_head_400(server: Address) -> None:
    assert httpx.post(server("/v1/segment?model=lesion"), content=SLICE.read_bytes()).status_code == 404
    assert httpx.post(server("/v1/segment?head=lesion"), content=SLICE.read_bytes()).status_code == 400
    assert httpx.post(server("/v1/segment?model=polyp"), content=SLICE.read_bytes()).status_code == 200
    assert metric(server, "segdino_requests_total", endpoint="/v1/segment", status="404") == 1


CURE = "send the file itself: curl --data-binary @FILE"
REFUSED = {
    "a form": ({"files": {"file": SLICE.read_bytes()}}, f"the body is a form; {CURE}"),
    "nothing": ({"content": b""}, f"the body is empty; {CURE}"),
    "a typing error": (
        {"content": SLICE.read_bytes(), "params": {"modell": "polyp"}},
        "no parameter 'modell': there are model and head",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_a_request_that_was_meant_otherwise_is_told_what_to_send(case: str, server: Address) -> None:
    request, message = REFUSED[case]

    answer = httpx.post(server("/v1/segment"), **request)  # type: ignore[arg-type]

    assert (answer.status_code, answer.json()) == (400, {"error": message})
