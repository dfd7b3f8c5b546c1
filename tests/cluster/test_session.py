"""A cluster that is not there is told of at once, without Ray's own attempts."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest

from segdino_deploy.cluster import session
from segdino_deploy.cluster.options import RayOptions
from segdino_deploy.errors import InputError


@pytest.fixture
def ray() -> SimpleNamespace:
    addresses: list[str] = []
    return SimpleNamespace(init=lambda address, **_: addresses.append(address), addresses=addresses)


def a_free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_where_nothing_listens_ray_is_not_asked(ray: SimpleNamespace, form: str) -> None:
    address = form.format(a_free_port())

    with pytest.raises(
        InputError, match=rf"^--ray {address}: no cluster answers there \(.*refused\); name its address"
    ):
        session._start(ray, RayOptions(address))
    with pytest.raises(InputError, match=r"^--ray 127\.0\.0\.1:99999: no cluster answers there"):
        session._start(ray, RayOptions("127.0.0.1:99999"))

    assert ray.addresses == []


def test_where_something_listens_and_for_other_forms_ray_decides(ray: SimpleNamespace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        for given in (address, "auto"):
            session._start(ray, RayOptions(given))

    assert ray.addresses == [address, "auto"]


def test_what_ray_says_of_something_else_that_listens_is_one_line(
    ray: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    def init(*_: object, **__: object) -> None:
        os.write(2, b"gcs_client.cc:210: Failed to get cluster ID\n")
        raise ConnectionError("no Ray")

    ray.init = init

    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        pytest.raises(InputError, match=r"no cluster answers there \(no Ray\)"),
    ):
        session._start(ray, RayOptions(f"127.0.0.1:{listening.getsockname()[1]}"))

    assert capfd.readouterr().err == ""
