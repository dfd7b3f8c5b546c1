"""Asking a server in the v2 protocol, over gRPC or HTTP, through Triton's own client library.

Both of its clients have the same methods; what differs is how they are made, how a timeout is given and how a failure
looks. A refused connection is tried again, for a server that starts; nothing else is.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Array
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.requirements import require_module
from segdino_deploy.triton.address import Address, parse_address
from segdino_deploy.triton.failures import garbage, is_refused, refused, translate
from segdino_deploy.triton.options import ClientOptions
from segdino_deploy.triton.protos import PURPOSE, triton_module

log = logging.getLogger(__name__)
T = TypeVar("T")
UNLIMITED = -1


@dataclass(frozen=True)
class ServedTensor:
    """An input or output by the server's word. `shape`: with the batch; -1: any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ServedModel:
    """A model by the server's word."""

    platform: str
    versions: tuple[int, ...]  # that are ready
    inputs: tuple[ServedTensor, ...]
    outputs: tuple[ServedTensor, ...]


class Connection(ABC):
    """A server, for any number of threads. Every failure is a SegdinoDeployError of one line that names the server."""

    library: str  # the module of Triton's client library

    def __init__(self, address: Address, options: ClientOptions) -> None:
        self.address = address
        self._options = options
        self._module = triton_module(self.library)

    def parameters(self, model: str) -> dict[str, str]:
        """Of the model's configuration. InputError where the server has no such model, or does not tell."""
        answer = self._ask(lambda client: self._configuration(client, model), is_about_model=True)
        try:
            config = answer.get("config", answer)  # gRPC wraps it
            return {key: str(value.get("string_value", "")) for key, value in config.get("parameters", {}).items()}
        except AttributeError as error:
            raise garbage(self.address.text, error) from error

    def describe(self, model: str, version: int | None = None) -> ServedModel:
        """What the server says of a model. InputError where it has no such one."""
        number = "" if version is None else str(version)
        answer = self._ask(lambda client: self._metadata(client, model, number), is_about_model=True)
        try:
            return ServedModel(
                str(answer.get("platform", "")),
                tuple(sorted(int(version) for version in answer.get("versions", []))),
                tuple(map(_tensor, answer["inputs"])),
                tuple(map(_tensor, answer["outputs"])),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise garbage(self.address.text, error) from error

    def infer(
        self, model: str, version: int, image_nhwc: NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, Array | None]:
        """The outputs by name, None for one that the server left out. `image_nhwc`: uint8 `[N, H, W, 3]`."""
        given = self._module.InferInput(INPUT, list(image_nhwc.shape), "UINT8")
        given.set_data_from_numpy(image_nhwc)
        asked = [self._module.InferRequestedOutput(name) for name in outputs]

        def run(client: Any) -> dict[str, Array | None]:
            answer = self._infer(client, model, str(version), [given], asked)
            return {name: answer.as_numpy(name) for name in outputs}

        return self._ask(run)

    @abstractmethod
    def _client(self) -> Any:
        """The calling thread's client."""

    @abstractmethod
    def _configuration(self, client: Any, model: str) -> Any: ...

    @abstractmethod
    def _metadata(self, client: Any, model: str, version: str) -> Any: ...

    @abstractmethod
    def _infer(self, client: Any, model: str, version: str, inputs: list[Any], outputs: list[Any]) -> Any: ...

    @abstractmethod
    def close(self) -> None:
        """May be called more than once."""

    @property
    def _headers(self) -> dict[str, str]:
        return dict(self._options.headers)

    def _ask(self, call: Callable[[Any], T], *, is_about_model: bool = False) -> T:
        """The answer of `call`, which is tried again where nothing listens yet."""
        where, pause = self.address.text, self._options.retry_seconds
        for attempt in range(1, self._options.attempts + 1):
            try:
                return call(self._client())
            except SegdinoDeployError:
                raise
            except Exception as error:  # the library lets through whatever its two transports raise
                if not is_refused(error):
                    raise translate(
                        error, self.address, self._options.timeout_seconds, is_about_model=is_about_model
                    ) from error
                if attempt < self._options.attempts:
                    log.debug("%s: connection refused, attempt %d", where, attempt)
                    time.sleep(pause)
                    pause *= 2
        raise refused(where, self._options.attempts)


class GrpcConnection(Connection):
    library = "grpc"

    def __init__(self, address: Address, options: ClientOptions) -> None:
        super().__init__(address, options)
        channel = [
            ("grpc.max_send_message_length", UNLIMITED),
            ("grpc.max_receive_message_length", UNLIMITED),
            # The pauses between attempts are ours; gRPC would answer from memory until its own has passed.
            ("grpc.initial_reconnect_backoff_ms", max(1, int(options.retry_seconds * 500))),
            ("grpc.min_reconnect_backoff_ms", max(1, int(options.retry_seconds * 500))),
        ]
        ca_file = None if options.ca_file is None else str(options.ca_file)
        # For any number of threads, by its documentation.
        self._shared = self._module.InferenceServerClient(
            address.target, ssl=address.is_encrypted, root_certificates=ca_file, channel_args=channel
        )

    def _client(self) -> Any:
        return self._shared

    def _configuration(self, client: Any, model: str) -> Any:
        return client.get_model_config(model, as_json=True, **self._each_call)

    def _metadata(self, client: Any, model: str, version: str) -> Any:
        return client.get_model_metadata(model, version, as_json=True, **self._each_call)

    def _infer(self, client: Any, model: str, version: str, inputs: list[Any], outputs: list[Any]) -> Any:
        return client.infer(model, inputs, model_version=version, outputs=outputs, **self._each_call)

    @property
    def _each_call(self) -> dict[str, Any]:
        return {"headers": self._headers, "client_timeout": self._options.timeout_seconds}

    def close(self) -> None:
        self._shared.close()


class HttpConnection(Connection):
    """A client per thread: the library's is for one only. Each is closed with its thread, or with this."""

    library = "http"

    def __init__(self, address: Address, options: ClientOptions) -> None:
        super().__init__(address, options)
        self._of_thread = threading.local()

    def _client(self) -> Any:
        if not hasattr(self._of_thread, "client"):
            self._of_thread.client = self._module.InferenceServerClient(
                self.address.target,
                connection_timeout=self._options.timeout_seconds,
                network_timeout=self._options.timeout_seconds,
                ssl=self.address.is_encrypted,
                ssl_context_factory=self._tls_context if self.address.is_encrypted else None,
            )
        return self._of_thread.client

    def _tls_context(self) -> Any:
        ssl = require_module("gevent.ssl", PURPOSE, extra="triton")  # the library's sockets are gevent's
        ca_file = self._options.ca_file
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))

    def _configuration(self, client: Any, model: str) -> Any:
        return client.get_model_config(model, headers=self._headers)

    def _metadata(self, client: Any, model: str, version: str) -> Any:
        return client.get_model_metadata(model, version, headers=self._headers)

    def _infer(self, client: Any, model: str, version: str, inputs: list[Any], outputs: list[Any]) -> Any:
        return client.infer(model, inputs, model_version=version, outputs=outputs, headers=self._headers)

    def close(self) -> None:
        if hasattr(self._of_thread, "client"):
            self._of_thread.client.close()
            del self._of_thread.client


CONNECTIONS: Mapping[str, type[Connection]] = {"grpc": GrpcConnection, "http": HttpConnection}


def connect(options: ClientOptions) -> Connection:
    """Nothing is asked yet. Raises InputError for what is no address, MissingComponent without tritonclient."""
    address = parse_address(options.url)
    return CONNECTIONS[address.protocol](address, options)


def _tensor(entry: Mapping[str, Any]) -> ServedTensor:
    """JSON of protobuf has 64-bit numbers as text."""
    return ServedTensor(str(entry["name"]), str(entry["datatype"]), tuple(int(side) for side in entry["shape"]))
