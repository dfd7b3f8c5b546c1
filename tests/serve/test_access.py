"""Who is let in: the token, and the addresses that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput

from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import InputError
from segdino_deploy.serve.options import ServeOptions, read_token
from segdino_deploy.serve.server import open_address
from tests.serve.conftest import INFER, Address, serving

UInt8 = NDArray[np.uint8]
TOKEN = "0123456789abcdef-secret"


@pytest.fixture(scope="module")
def guarded(polyp: Runner) -> Iterator[Address]:
    with serving({"polyp": polyp}, ServeOptions(token=TOKEN)) as address:
        yield address


@pytest.mark.parametrize("path", ["/v2", "/v2/models/polyp", INFER, "/v1/segment", "/metrics", "/openapi.json", "/x"])
def test_without_the_token_nothing_but_health_is_told(path: str, guarded: Address) -> None:
    answer = httpx.post(guarded(path))

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == {"error": "a token is needed: Authorization: Bearer TOKEN"}


@pytest.mark.parametrize(
    "header", ["Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "\xe9", TOKEN]
)
def test_another_token_is_none(header: str, guarded: Address) -> None:
    assert httpx.get(guarded("/v2"), headers={"Authorization": header.encode("latin-1")}).status_code == 401
    assert httpx.get(guarded("/v2"), headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200


def test_probes_need_no_token(guarded: Address) -> None:
    assert httpx.get(guarded("/v2/health/live")).status_code == 200
    assert httpx.get(guarded("/v2/health/ready")).status_code == 200


def test_tritonclient_gives_the_token_as_a_header(guarded: Address, images: UInt8, polyp: Runner) -> None:
    image = InferInput("image", [1, 64, 96, 3], "UINT8").set_data_from_numpy(images[:1])
    with InferenceServerClient(guarded.netloc) as client:
        answer = client.infer("polyp", [image], headers={"Authorization": f"Bearer {TOKEN}"})

    assert (answer.as_numpy("mask") == polyp.run({"image": images[:1]})["mask"]).all()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_let_in_with_a_token_alone(host: str) -> None:
    with pytest.raises(InputError, match=f"--host {host}: other machines could ask without a token; give --token-file"):
        open_address(host, 0, has_token=False)


def test_with_a_token_any_address_goes() -> None:
    with open_address("0.0.0.0", 0, has_token=True) as opened:
        assert opened.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.9.1"])
def test_loopback_needs_no_token(host: str) -> None:
    with open_address(host, 0, has_token=False) as opened:
        assert opened.getsockname()[1] > 0


def test_an_address_that_is_not_here_is_told() -> None:
    with pytest.raises(InputError, match=r"--host 192\.0\.2\.1 --port 0: cannot be listened on"):
        open_address("192.0.2.1", 0, has_token=True)
    with pytest.raises(InputError, match="no address of this machine"):
        open_address("nowhere.invalid", 0, has_token=True)


def test_the_token_is_a_files_line_or_the_environments(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    assert read_token(None, {}) is None
    assert read_token(None, {"SEGDINO_TOKEN": TOKEN}) == TOKEN
    assert read_token(tmp_path / "token", {"SEGDINO_TOKEN": "another-one-that-is-long"}) == TOKEN
    assert TOKEN not in repr(ServeOptions(token=TOKEN))


@pytest.mark.parametrize(
    "content", ["", "\n", "short", "with a space in it, and long", "a line\nand another one of it", "ümlaut-" * 4]
)
def test_what_is_no_token_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(content)

    with pytest.raises(InputError, match=r"holds no token.*make one: openssl rand -hex 32"):
        read_token(tmp_path / "token", {})
    with pytest.raises(InputError, match="SEGDINO_TOKEN: holds no token"):
        read_token(None, {"SEGDINO_TOKEN": content})


def test_a_token_file_that_is_not_there_is_no_open_door(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--token-file .*missing: cannot be read"):
        read_token(tmp_path / "missing", {"SEGDINO_TOKEN": TOKEN})
