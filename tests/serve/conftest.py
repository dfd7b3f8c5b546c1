"""Servers to ask: in this process on a thread of their own, with a real engine or with one that the test holds back."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from segdino_deploy import build_engine, export_model, open_engine
from segdino_deploy.bundle import MANIFEST
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.run import Runner
from segdino_deploy.engines.run.contract import Array
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange, Manifest, ModelCard
from segdino_deploy.serve.model import OpenModel
from segdino_deploy.serve.options import ServeOptions
from segdino_deploy.serve.server import make_server, open_address
from segdino_deploy.serve.wire import HEADER_LENGTH
from tests.conftest import read_golden

SIZE_HW = (64, 96)
INFER = "/v2/models/polyp/infer"
POST_INFER = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n".encode()  # the begin of its head


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @property
    def netloc(self) -> str:
        return f"{self.host}:{self.port}"

    def __call__(self, path: str) -> str:
        return f"http://{self.netloc}{path}"


class HeldRunner(Runner):
    """The mask is the image's red channel. A call waits until the test lets it go; `batches` are the calls' images."""

    backend = "held"
    precision = "fp32"
    device = "CPU"

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self.batches: list[NDArray[np.uint8]] = []
        self.is_running = threading.Event()
        self.may_go_on = threading.Event()
        self.fails = False

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        self.batches.append(image_nhwc.copy())
        self.is_running.set()
        assert self.may_go_on.wait(20)
        if self.fails:
            raise RuntimeError("the device has caught fire")
        return {"mask": image_nhwc[..., 0].copy()}


@pytest.fixture(scope="session")
def served_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with an ONNX Runtime engine of batches of 1 to 4 whose masks hold both classes. Never change it."""
    path = tmp_path_factory.mktemp("served") / "polyp.segdino"
    options = ExportOptions(input_size=SIZE_HW, batch=BatchRange(min=1, opt=2, max=4), outputs=("mask", "logits"))
    bundle = export_model(read_golden("v1_paper").checkpoint, path, options)
    build_engine(bundle, BuildOptions("fp32", "onnxruntime", lowering=("none",)))
    return path


@pytest.fixture(scope="session")
def card(served_bundle: Path) -> ModelCard:
    """Of `served_bundle`."""
    return Manifest.model_validate_json((served_bundle / MANIFEST).read_bytes()).model


@pytest.fixture
def held(card: ModelCard) -> Iterator[HeldRunner]:
    """Gives masks alone, of batches of 1 to 4."""
    head = card.heads[0].model_copy(update={"outputs": ["mask"]})
    runner = HeldRunner(card.model_copy(update={"heads": [head]}))
    yield runner
    runner.may_go_on.set()


@contextmanager
def serving(models: Mapping[str, Runner], options: ServeOptions | None = None) -> Iterator[Address]:
    """Runners by name, on a free port."""
    with serving_models({name: OpenModel(name, runner) for name, runner in models.items()}, options) as address:
        yield address


@contextmanager
def serving_models(
    models: Mapping[str, OpenModel], options: ServeOptions | None = None, port: int = 0
) -> Iterator[Address]:
    """A whole server but for its signals. Port 0: a free one."""
    server = make_server(models, options or ServeOptions())
    with open_address("127.0.0.1", port, has_token=False) as address:
        address.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [address]})
        thread.start()
        try:
            yield Address(*address.getsockname())
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def polyp(served_bundle: Path) -> Iterator[Runner]:
    """The engine itself: what the server must answer."""
    with open_engine(served_bundle) as runner:
        yield runner


@pytest.fixture(scope="module")
def server(polyp: Runner) -> Iterator[Address]:
    with serving({"polyp": polyp}) as address:
        yield address


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    """Six images that differ, uint8 `[6, H, W, 3]`: the golden ones, and they turned and mirrored."""
    golden = read_golden("v1_paper").image
    assert golden.shape[1:3] == SIZE_HW
    return np.concatenate([golden, golden[:, ::-1], golden[:, :, ::-1]])


def binary_request(images: NDArray[np.uint8], *outputs: str, **arguments: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request with binary data, as tritonclient makes them."""
    image = InferInput("image", list(images.shape), "UINT8").set_data_from_numpy(images)
    wanted = [InferRequestedOutput(name) for name in outputs] or None
    body, json_bytes = InferenceServerClient.generate_request_body([image], outputs=wanted, **arguments)
    return body, {HEADER_LENGTH: str(json_bytes)}


def spoken(images: NDArray[np.uint8], *, is_last: bool = True) -> bytes:
    """A whole request for masks, as it goes over the wire. After the last one the server is to close."""
    body, headers = binary_request(images, "mask")
    headers |= {"Content-Length": str(len(body))} | ({"Connection": "close"} if is_last else {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return POST_INFER + f"{lines}\r\n".encode() + body


def post(address: Address, images: NDArray[np.uint8], model: str = "polyp", **arguments: Any) -> httpx.Response:
    body, headers = binary_request(images, **arguments)
    return httpx.post(address(f"/v2/models/{model}/infer"), content=body, headers=headers, timeout=30)


def result(answer: httpx.Response) -> InferResult:
    """An answer as tritonclient reads it."""
    assert answer.status_code == 200, answer.text
    length = answer.headers.get(HEADER_LENGTH)
    return InferenceServerClient.parse_response_body(answer.content, header_length=length and int(length))


def encoded(kind: str, size_wh: tuple[int, int] = (150, 100), **options: object) -> bytes:
    """Coloured noise as a file, upright only after its EXIF orientation is applied where the format has one."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (10, 15, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a photo"
    if kind != "tiff":  # which has its own way to nest, that Pillow does not write
        exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0xA005: {1: "R98"}}
        exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    coarse.resize(size_wh, Image.Resampling.BICUBIC).save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


def raw(address: Address, request: bytes, seconds: float = 10) -> bytes:
    """What comes back for bytes, up to the end of the connection or of an answer's head; `refused` without one."""
    try:
        connection = socket.create_connection((address.host, address.port), seconds)
    except ConnectionRefusedError:
        return b"refused"
    answer = b""
    with connection, suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(request)
        while b"\r\n\r\n" not in answer and (piece := connection.recv(65536)):
            answer += piece
    return answer


def metric(address: Address, name: str, **labels: str) -> float:
    """The value of one sample on `/metrics`, as Prometheus' own parser reads it; 0 where there is none yet."""
    for family in text_string_to_metric_families(httpx.get(address("/metrics")).text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Fails where something does not come about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
