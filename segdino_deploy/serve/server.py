"""uvicorn around the application: the address, and an orderly end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from segdino_deploy.errors import InputError
from segdino_deploy.serve.app import create_app
from segdino_deploy.serve.model import OpenModel
from segdino_deploy.serve.options import TOKEN_VARIABLE, ServeOptions
from segdino_deploy.serve.protocol import impatient
from segdino_deploy.serve.service import Service

TURNS_TO_LET_IN = 16  # of the event loop: accepting, reading and beginning with a request take a handful


def open_address(host: str, port: int, has_token: bool) -> socket.socket:
    """A bound socket that does not listen yet. Other machines can only be let in with a token.

    A warning would scroll away, and who may ask a model is nothing to be left open by mistake. Raises InputError.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host}: no address of this machine") from error
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback and not has_token:
        raise InputError(
            f"--host {host}: other machines could ask without a token; give --token-file or set {TOKEN_VARIABLE}, "
            "or leave --host out and let a proxy on this machine forward to it"
        )
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise InputError(f"--host {host} --port {port}: cannot be listened on ({error.strerror})") from error
    return opened


class Server(uvicorn.Server):
    """uvicorn's, with the engines' threads around it: they end after the last request, however that ended."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with self._service.running():
            await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What clients had sent before the signal may still be in the system's hands: it is let in first."""
        for _ in range(TURNS_TO_LET_IN):
            await asyncio.sleep(0)
        await super().shutdown(sockets)


def make_server(models: Mapping[str, OpenModel], options: ServeOptions) -> Server:
    """A server that nobody has started yet. InputError where the options do not fit a model."""
    service = Service(models, options)
    config = uvicorn.Config(
        create_app(service),
        http=impatient(options.idle_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=options.access_log,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=math.ceil(options.idle_seconds),
        timeout_graceful_shutdown=options.drain_seconds,
    )
    is_debugging = logging.getLogger().isEnabledFor(logging.DEBUG)
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET if is_debugging else logging.ERROR)
    logging.getLogger("uvicorn.access").setLevel(logging.INFO if options.access_log else logging.WARNING)
    return Server(config, service)


def run_server(server: Server, address: socket.socket, on_line: Callable[[str], None], what: str) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is there within the drain time and returns."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of clients' files; what is wrong with them, they are told
    with _ended_by_signals(server):
        address.listen()  # from here on clients wait instead of being refused: the line may be believed
        host, port = address.getsockname()[:2]
        on_line(f"serving {what} on http://{f'[{host}]' if ':' in host else host}:{port}")
        server.run(sockets=[address])
    on_line(f"stopped after {server.server_state.total_requests} requests")


@contextmanager
def _ended_by_signals(server: Server) -> Iterator[None]:
    """uvicorn raises the signal that ended it again, for whoever had it before: that is the server itself."""
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
