"""Addresses and options of the client: what they mean, and which cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segdino_deploy.errors import InputError
from segdino_deploy.triton.address import parse_address
from segdino_deploy.triton.options import ClientOptions

ADDRESSES = {
    "grpc://triton": ("grpc", False, "triton:8001", "grpc://triton:8001"),
    "http://10.0.0.7:9000/": ("http", False, "10.0.0.7:9000", "http://10.0.0.7:9000"),
    "https://ml.example.org/models/a": ("http", True, "ml.example.org:443/models/a", None),
    "https://ml.example.org/api/v2": ("http", True, "ml.example.org:443/api/v2", None),
    "grpcs://[::1]:8001": ("grpc", True, "[::1]:8001", None),
}


@pytest.mark.parametrize("url", list(ADDRESSES))
def test_addresses_are_read(url: str) -> None:
    protocol, is_encrypted, target, text = ADDRESSES[url]

    address = parse_address(url)

    assert (address.protocol, address.is_encrypted, address.target) == (protocol, is_encrypted, target)
    assert address.text == (text or url.replace("org/", "org:443/"))


@pytest.mark.parametrize(
    "url", ["", "localhost:8001", "ftp://a", "grpc://", "grpc://a:b", "grpc://a/path", "http://a?x=1", "http://u:p@a"]
)
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(
        InputError, match=r"--triton: .*(such as grpc://localhost:8001|use SEGDINO_DEPLOY_TRITON_TOKEN)"
    ):
        parse_address(url)


@pytest.mark.parametrize("url", ["http://a/v2", "https://a:1/v2/", "http://a/v2/health/ready"])
def test_the_clients_own_part_of_the_path_is_to_be_left_out(url: str) -> None:
    with pytest.raises(InputError, match=f"--triton: '{url}': the client adds /v2 itself; leave the path out"):
        parse_address(url)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timeout_seconds": 0}, "--triton-timeout"),
        ({"timeout_seconds": float("nan")}, "--triton-timeout"),
        ({"attempts": 0}, "attempts: 0"),
        ({"version": 0}, "--triton-version: 0"),
        ({"ca_file": Path("no-such.pem")}, "--triton-ca: no-such.pem: no such file"),
    ],
)
def test_client_options_that_cannot_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClientOptions("grpc://localhost", **wrong)
