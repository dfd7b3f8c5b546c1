"""Reading a body within limits, and noticing that nobody waits for the answer any more."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from segdino_deploy.errors import InputError
from segdino_deploy.serve.refusals import ClientGone, TooLarge, TooSlow

T = TypeVar("T")
ENCODINGS = ("gzip", "deflate")  # what tritonclient can send


async def read_body(request: Request, max_bytes: int, max_seconds: float) -> bytes:
    """The request's body, decompressed. `max_bytes` holds for what is sent and for what it becomes.

    Raises TooLarge (by the head alone, where that says it), TooSlow, ClientGone, InputError (compressed otherwise).
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", *ENCODINGS):
        raise InputError(f"Content-Encoding {encoding[:32]!r}: {' and '.join(ENCODINGS)} can be read")
    declared = request.headers.get("content-length", "0")  # which the HTTP library has checked
    if int(declared) > max_bytes:
        raise _too_large(max_bytes)
    try:
        body = await asyncio.wait_for(_collect(request, max_bytes), max_seconds)
    except asyncio.TimeoutError:
        raise TooSlow(f"the request's body did not come within {max_seconds:g} s") from None
    except ClientDisconnect:
        raise ClientGone("the client went away while it sent its request") from None
    return body if encoding == "identity" else _decompress(body, max_bytes)


async def _collect(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _decompress(body: bytes, limit: int) -> bytes:
    """gzip or zlib, whichever it is."""
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        whole = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise InputError("the body is not compressed as its Content-Encoding says") from error
    if len(whole) > limit:
        raise _too_large(limit)
    if not reader.eof or reader.unused_data:
        raise InputError("the compressed body is cut off, or more follows it")
    return whole


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request is larger than {limit} bytes; send fewer images, or raise --max-request-mib")


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, or ClientGone; then it is cancelled. The request's body must have been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone("the client went away before its answer")
        return task.result()
    finally:
        task.cancel()
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # which is nobody's then
        gone.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
