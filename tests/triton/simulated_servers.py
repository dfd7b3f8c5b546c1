"""The v2 protocol over gRPC, with the protobuf service of Triton's client, and over HTTP with binary tensors."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from tests.triton.simulated_models import Model, ModelRepository, Refused, datatype

Array = NDArray[np.generic]


@dataclass
class Behaviour:
    """What a test makes the server do, and what it saw."""

    delay_seconds: float = 0.0  # before each inference
    change: Callable[[dict[str, Array]], dict[str, Array]] = lambda outputs: outputs  # of the outputs, before they go
    token: str = ""  # that clients must bring
    headers: list[dict[str, str]] = field(default_factory=list)


class GrpcService(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc, unused-ignore]
    def __init__(self, repository: ModelRepository, behaviour: Behaviour) -> None:
        self._repository = repository
        self._behaviour = behaviour

    def ServerLive(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        with _answering(context):
            return service_pb2.ModelReadyResponse(ready=bool(self._repository.model(request.name, request.version)))

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._let_in(context)
        with _answering(context):
            described = describe(self._repository.model(request.name, request.version))
            return json_format.ParseDict(described, service_pb2.ModelMetadataResponse())

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        with _answering(context):
            model = self._repository.model(request.name, request.version)
            return service_pb2.ModelConfigResponse(config=model.config)

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        time.sleep(self._behaviour.delay_seconds)
        with _answering(context):
            model = self._repository.model(request.model_name, request.model_version)
            inputs = {
                tensor.name: read_tensor(tensor.datatype, list(tensor.shape), raw)
                for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
            }
            outputs = self._behaviour.change(model.infer(request.model_version, inputs))
            response = service_pb2.ModelInferResponse(model_name=model.name, model_version=request.model_version)
            for name in [output.name for output in request.outputs] or list(outputs):
                if name in outputs:
                    array = outputs[name]
                    response.outputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
                    response.raw_output_contents.append(array.tobytes())
            return response

    def _let_in(self, context: grpc.ServicerContext) -> None:
        headers = dict(context.invocation_metadata())
        self._behaviour.headers.append(headers)
        if self._behaviour.token and headers.get("authorization") != f"Bearer {self._behaviour.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")


@contextmanager
def _answering(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        code = grpc.StatusCode.NOT_FOUND if error.not_found else grpc.StatusCode.INVALID_ARGUMENT
        context.abort(code, str(error))


@contextmanager
def grpc_server(
    repository: Path, behaviour: Behaviour, credentials: grpc.ServerCredentials | None = None, port: int = 0
) -> Iterator[tuple[str, ModelRepository]]:
    """`host:port` and what it serves."""
    models = ModelRepository(repository)
    # Without SO_REUSEPORT, so that a port is nobody else's.
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(GrpcService(models, behaviour), server)
    address = f"localhost:{port}"
    bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield f"localhost:{bound}", models
    finally:
        server.stop(grace=None).wait()


class HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are sent apart, and the client would wait for the second
    repository: ModelRepository
    behaviour: Behaviour

    ROUTE = re.compile(r"/v2/models/(?P<model>[^/]+)(/versions/(?P<version>\d+))?(/(?P<verb>config|ready|infer))?")

    def log_message(self, *_: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._infer)

    def _answer(self, work: Callable[[str, str, str], tuple[dict[str, Any], list[bytes]]]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.behaviour.headers.append(headers)
        body = self.rfile.read(int(headers.get("content-length", "0")))
        if self.behaviour.token and headers.get("authorization") != f"Bearer {self.behaviour.token}":
            self._send(401, {"error": "no token"}, [])
            return
        if self.path in ("/v2/health/live", "/v2/health/ready"):
            self._send(200, {}, [])
            return
        match = self.ROUTE.fullmatch(self.path)
        if match is None:
            self._send(404, {"error": "Not Found"}, [])
            return
        self.body = body
        try:
            content, binary = work(match["model"], match["version"] or "", match["verb"] or "")
        except Refused as error:
            self._send(404 if error.not_found else 400, {"error": str(error)}, [])
            return
        self._send(200, content, binary)

    def _get(self, name: str, version: str, verb: str) -> tuple[dict[str, Any], list[bytes]]:
        model = self.repository.model(name, version)
        if verb == "config":
            return json.loads(json_format.MessageToJson(model.config, preserving_proto_field_name=True)), []
        return ({} if verb == "ready" else describe(model)), []

    def _infer(self, name: str, version: str, verb: str) -> tuple[dict[str, Any], list[bytes]]:
        assert verb == "infer"
        time.sleep(self.behaviour.delay_seconds)
        length = int(self.headers["Inference-Header-Content-Length"])
        request, rest = json.loads(self.body[:length]), self.body[length:]
        inputs = {}
        for tensor in request["inputs"]:
            size = tensor["parameters"]["binary_data_size"]
            inputs[tensor["name"]] = read_tensor(tensor["datatype"], tensor["shape"], rest[:size])
            rest = rest[size:]
        outputs = self.behaviour.change(self.repository.model(name, version).infer(version, inputs))
        asked = [output["name"] for output in request.get("outputs", []) if output["parameters"]["binary_data"]]
        entries, binary = [], []
        for tensor_name in asked:
            if tensor_name in outputs:
                array = outputs[tensor_name]
                entries.append(
                    {
                        "name": tensor_name,
                        "datatype": np_to_triton_dtype(array.dtype),
                        "shape": list(array.shape),
                        "parameters": {"binary_data_size": array.nbytes},
                    }
                )
                binary.append(array.tobytes())
        return {"model_name": name, "model_version": version, "outputs": entries}, binary

    def _send(self, status: int, content: Mapping[str, Any], binary: list[bytes]) -> None:
        head = json.dumps(content).encode()
        body = head + b"".join(binary)
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if binary else "application/json")
        self.send_header("Content-Length", str(len(body)))
        if binary:
            self.send_header("Inference-Header-Content-Length", str(len(head)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # kept-alive connections of clients that are still there

    def handle_error(self, *_: Any) -> None:
        """A client that has gone, as one whose time was up: not for the test's output."""


@contextmanager
def http_server(
    repository: Path, behaviour: Behaviour, tls: Any = None, port: int = 0
) -> Iterator[tuple[str, ModelRepository]]:
    """`host:port` and what it serves. `tls`: an `ssl.SSLContext`."""
    models = ModelRepository(repository)
    handler = type("Handler", (HttpHandler,), {"repository": models, "behaviour": behaviour})
    server = _Server(("localhost", port), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"localhost:{server.server_address[1]}", models
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def describe(model: Model) -> dict[str, Any]:
    """Of a model, what the protocol calls its metadata."""

    def tensors(entries: Any) -> list[dict[str, Any]]:
        return [{"name": e.name, "datatype": datatype(e), "shape": model.shape(e)} for e in entries]

    return {
        "name": model.name,
        "versions": [str(number) for number in model.versions],
        "platform": model.platform,
        "inputs": tensors(model.config.input),
        "outputs": tensors(model.config.output),
    }


def read_tensor(kind: str, shape: list[int], raw: bytes) -> Array:
    array: Array = np.frombuffer(raw, triton_to_np_dtype(kind))
    if array.size != int(np.prod(shape)):
        raise Refused(f"expected {int(np.prod(shape))} elements, got {array.size}")
    return array.reshape(shape)


SERVERS = {"grpc": grpc_server, "http": http_server}
