"""What every request passes: the token, the count and the time of the answer, and the end of the drain time."""

from __future__ import annotations

import asyncio
import hmac
from time import perf_counter

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segdino_deploy.serve.metrics import Metrics

OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})  # for probes, which have no token
RETRY_AFTER_SECONDS = 1


def refuse(status: int, message: str) -> JSONResponse:
    """An error as the v2 protocol has it."""
    headers = {}
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": message}, status, headers)


class Door:
    """ASGI middleware. Where there is a token, everything but health asks for it, before a body is read."""

    def __init__(self, app: ASGIApp, token: str | None, metrics: Metrics) -> None:
        self._app = app
        self._token = token
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        status = 500  # where the app raises, its framework answers so
        has_answered = False

        async def note(message: Message) -> None:
            nonlocal status, has_answered
            if message["type"] == "http.response.start":
                status, has_answered = message["status"], True
            await send(message)

        try:
            if self._admits(scope):
                await self._app(scope, receive, note)
            else:
                await refuse(401, "a token is needed: Authorization: Bearer TOKEN")(scope, receive, note)
        except asyncio.CancelledError:  # the drain time is over
            if not has_answered:
                await refuse(503, "the server is shutting down")(scope, receive, note)
        finally:
            endpoint = getattr(scope.get("route"), "path", "other")  # never the path itself: clients choose it
            self._metrics.requests.labels(endpoint, str(status)).inc()
            self._metrics.request_seconds.labels(endpoint).observe(perf_counter() - began)

    def _admits(self, scope: Scope) -> bool:
        if self._token is None or scope["path"] in OPEN_PATHS:
            return True
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode("latin-1"), self._token.encode())  # in constant time
        return kind.lower() == "bearer" and same
