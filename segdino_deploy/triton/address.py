"""Where a server listens, from what the user writes."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from segdino_deploy.errors import InputError
from segdino_deploy.triton.options import TOKEN_VARIABLE

# scheme -> protocol, TLS, the port where none is written
SCHEMES = {
    "grpc": ("grpc", False, 8001),
    "grpcs": ("grpc", True, 443),
    "http": ("http", False, 8000),
    "https": ("http", True, 443),
}


@dataclass(frozen=True)
class Address:
    """`text` is how messages name it."""

    text: str
    protocol: str  # "grpc" or "http"
    is_encrypted: bool
    target: str  # host:port, of HTTP with the path before /v2

    @property
    def has_path(self) -> bool:
        return "/" in self.target


def parse_address(url: str) -> Address:
    """`grpc://localhost:8001` to its parts. InputError for anything that is no address of a server."""
    example = "such as grpc://localhost:8001 or http://localhost:8000"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"--triton: {url!r} is no address, {example}") from error
    if parts.scheme not in SCHEMES or not host:
        raise InputError(f"--triton: {url!r} is no address, {example}")
    protocol, is_encrypted, default_port = SCHEMES[parts.scheme]
    if parts.username is not None:
        raise InputError(f"--triton: names and passwords do not belong into an address; use {TOKEN_VARIABLE}")
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or (path and protocol == "grpc"):
        raise InputError(f"--triton: {url!r} has more than an address, {example}")
    if path == "/v2" or path.startswith(("/v2/models", "/v2/health")):  # below another path it may be a proxy's
        raise InputError(f"--triton: {url!r}: the client adds /v2 itself; leave the path out")
    named = f"[{host}]" if ":" in host else host
    target = f"{named}:{port or default_port}{path}"
    return Address(f"{parts.scheme}://{target}", protocol, is_encrypted, target)
