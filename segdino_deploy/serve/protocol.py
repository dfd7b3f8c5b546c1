"""uvicorn's HTTP protocol, with limits to what a connection costs: time, answers that nobody reads, the log's lines.

An answer is written in one go. It never waits in the application, but in the connection's own buffer, where it is
counted and from where it can be dropped; the next request of its connection is only begun when it has been read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from h11 import LocalProtocolError
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 512  # more are closed at once; each may hold some 100 KiB before its request is looked at
MAX_UNREAD_BYTES = 256 * 2**20  # of answers that clients have not read yet, over all connections


def impatient(idle_seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, which by itself waits for a request's head and for a reader of its answer without end."""

    class Impatient(H11Protocol):
        """Closes a connection where no whole head has come within `idle_seconds` of its beginning or last answer, and
        earlier where answers that nobody reads pile up.
        """

        _patience: asyncio.TimerHandle | None = None
        _has_unread = False  # more than the system takes off our hands

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait(None)
            if len(self.connections) > MAX_CONNECTIONS:
                transport.abort()

        def pause_writing(self) -> None:
            self._has_unread = True

        def resume_writing(self) -> None:
            self._has_unread = False
            if not self.transport.is_closing():
                self.flow.resume_reading()
                self.handle_events()

        def handle_events(self) -> None:
            if self._has_unread:
                self.flow.pause_reading()
            else:
                super().handle_events()

        def on_response_complete(self) -> None:
            answered = self.cycle
            super().on_response_complete()  # which may have begun with the next request
            self._wait(answered)
            _drop_unread([connection.transport for connection in self.connections])

        def send_400_response(self, msg: str) -> None:
            """uvicorn's answer to what is no HTTP. What it interrupts, or comes after, must not be an error here."""
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            try:
                super().send_400_response(msg)
            except LocalProtocolError:  # the request was answered before its body was found to be wrong
                self.connections.discard(self)  # a server that ends would say goodbye, which h11 now refuses
                self.transport.abort()
            self._wait(self.cycle)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_waiting()

        def _wait(self, last: object) -> None:
            self._stop_waiting()
            self._patience = self.loop.call_later(idle_seconds, self._give_up, last)

        def _stop_waiting(self) -> None:
            if self._patience is not None:
                self._patience.cancel()

        def _give_up(self, last: object) -> None:
            if self.cycle is last:  # no other request has begun
                self.transport.abort()

    return Impatient


def _drop_unread(transports: Iterable[asyncio.Transport]) -> None:
    """Ends the connections that have most to read until what is left is bearable."""
    unread = {transport: transport.get_write_buffer_size() for transport in transports}
    while sum(unread.values()) > MAX_UNREAD_BYTES:
        worst = max(unread, key=lambda transport: unread[transport])
        worst.abort()
        unread[worst] = 0
