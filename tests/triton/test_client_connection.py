"""Reaching a server, or not: who is let in, what is waited for, and what else may listen at the address."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.triton.options import ClientOptions
from segdino_deploy.triton.runner import TritonRunner
from tests.triton.conftest import Server, serving


def test_a_token_is_sent_with_every_call(server: Server, fixed: Path) -> None:
    server.behaviour.token = "secret"
    with pytest.raises(InputError, match=r"not allowed in \(no token\); set SEGDINO_DEPLOY_TRITON_TOKEN"):
        TritonRunner(fixed, server.options())

    options = server.options(headers={"authorization": "Bearer secret", "x-tenant": "clinic"})
    with TritonRunner(fixed, options):
        pass

    assert server.behaviour.headers[-1]["x-tenant"] == "clinic"
    assert "secret" not in repr(options)


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_server_that_is_down_is_said_so_after_a_few_attempts(protocol: str, fixed: Path) -> None:
    options = ClientOptions(f"{protocol}://localhost:{free_port()}", attempts=3, retry_seconds=0.01)
    with pytest.raises(SegdinoDeployError, match=r"connection refused \(3 attempts\): is a server running there\?"):
        TritonRunner(fixed, options)


def test_a_server_that_starts_late_is_waited_for(protocol: str, repository: Path, fixed: Path) -> None:
    port, stop = free_port(), threading.Event()

    def start_late() -> None:
        time.sleep(0.3)
        with serving(protocol, repository, port=port):
            stop.wait(60)

    thread = threading.Thread(target=start_late)
    thread.start()
    try:
        options = ClientOptions(f"{protocol}://localhost:{port}", attempts=10, retry_seconds=0.1)
        with TritonRunner(fixed, options) as runner:
            runner.run({"image": np.zeros((1, 64, 96, 3), np.uint8)})
    finally:
        stop.set()
        thread.join()


GARBAGE = {
    "nothing": b"",
    "zeros": bytes(200),
    "another page": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a proxy's error": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello",
    "another object": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
}


@pytest.mark.parametrize("garbage", list(GARBAGE))
def test_a_port_where_something_else_answers_is_one_line(garbage: str, protocol: str, fixed: Path) -> None:
    listener = socket.create_server(("localhost", 0))

    def answer() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            with client:
                client.recv(4096)
                client.sendall(GARBAGE[garbage])

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    url = f"{protocol}://localhost:{listener.getsockname()[1]}"
    try:
        with pytest.raises(SegdinoDeployError, match=r"is not the v2 protocol|cannot be reached") as caught:
            TritonRunner(fixed, ClientOptions(url, timeout_seconds=5, attempts=1))
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_host_that_does_not_exist_is_one_line(protocol: str, fixed: Path) -> None:
    with pytest.raises(SegdinoDeployError, match=r"no-such-host.invalid:1: cannot be reached"):
        TritonRunner(fixed, ClientOptions(f"{protocol}://no-such-host.invalid:1", timeout_seconds=5))


def test_tls_to_a_server_without_it_asks_for_the_other_scheme(server: Server, protocol: str, fixed: Path) -> None:
    plain = server.url
    encrypted = plain.replace(protocol, f"{protocol}s")
    with pytest.raises(SegdinoDeployError) as caught:
        TritonRunner(fixed, server.options(url=encrypted))
    assert str(caught.value) == f"{encrypted}: what listens there speaks no TLS: is it {plain}?"


def test_a_path_where_no_server_is_is_to_be_left_out(repository: Path, fixed: Path) -> None:
    wanted = r"Not Found; leave the path out of the address, or name a model"
    with serving("http", repository) as server, pytest.raises(InputError, match=wanted):
        TritonRunner(fixed, server.options(url=f"{server.url}/triton"))


MAKE_CERTIFICATE = (
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
    *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
)


def test_the_connection_is_encrypted_and_the_server_must_be_the_right_one(
    protocol: str, repository: Path, fixed: Path, tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [*MAKE_CERTIFICATE, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    if protocol == "grpc":
        tls: Any = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    else:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
    with serving(protocol, repository, tls) as running:
        with TritonRunner(fixed, running.options(ca_file=certificate)) as runner:
            runner.run({"image": np.zeros((1, 64, 96, 3), np.uint8)})
        with pytest.raises(SegdinoDeployError, match=r"(?i)certificate"):
            TritonRunner(fixed, running.options())
