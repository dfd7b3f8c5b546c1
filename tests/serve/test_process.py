"""`segdino-deploy serve` as a process: how it starts, how it ends, and what it does under load."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.benchmarks.scale.load import connect, resident_mib, run_round
from segdino_deploy.cli.app import run
from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import InputError
from segdino_deploy.serve.server import open_address
from tests.serve.conftest import Address, metric, post, raw, result, spoken, wait_until

UInt8 = NDArray[np.uint8]
COMMAND = (sys.executable, "-m", "segdino_deploy.cli.app", "serve")
MEBIBYTES_OF_NOISE = 24  # of an allocator that keeps what it was given back


class Served:
    """A running process. `lines` is what it has said so far."""

    def __init__(self, process: subprocess.Popen[str], lines: list[str]) -> None:
        self.process = process
        self.lines = lines
        host, _, port = lines[-1].rpartition("http://")[2].partition(":")
        self.address = Address(host, int(port))

    def end(self, number: signal.Signals) -> int:
        """Its exit code, once it has ended."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        self.lines += said.splitlines()
        return self.process.returncode


@contextmanager
def served(*arguments: object, **environment: str) -> Iterator[Served]:
    """On a free port. A process that is still there at the end is killed."""
    call = [*COMMAND, *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    assert process.stderr is not None
    with process:
        lines: list[str] = []
        try:
            for line in process.stderr:
                lines.append(line.rstrip())
                if line.startswith("serving "):
                    break
            assert lines[-1].startswith("serving "), lines
            yield Served(process, lines)
        finally:
            if process.poll() is None:
                process.kill()


def ask(address: Address, images: UInt8) -> tuple[float, bytes]:
    """When the whole request had been sent, which is never for one that was not let in, and what came of it."""
    sent = math.inf
    try:
        with socket.create_connection((address.host, address.port), 60) as connection:
            connection.sendall(spoken(images))
            sent = time.monotonic()
            return sent, b"".join(iter(lambda: connection.recv(65536), b""))
    except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError) as error:
        return sent, type(error).__name__.encode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_no_request_is_lost(
    number: signal.Signals, served_bundle: Path, polyp: Runner, images: UInt8
) -> None:
    answers: list[tuple[float, bytes]] = []
    with served(served_bundle) as server:
        address = server.address
        assert (result(post(address, images[:1])).as_numpy("mask") == polyp.run({"image": images[:1]})["mask"]).all()

        def ask_until_the_end() -> None:
            while server.process.poll() is None:
                answers.append(ask(address, images[:4]))

        clients = [threading.Thread(target=ask_until_the_end) for _ in range(4)]
        for thread in clients:
            thread.start()
        wait_until(lambda: len(answers) >= 20)
        signalled = time.monotonic()
        code = server.end(number)
        for thread in clients:
            thread.join()

    assert code == 0
    in_time = [answer[:12] for sent, answer in answers if sent < signalled]
    assert len(in_time) >= 20
    assert set(in_time) == {b"HTTP/1.1 200"}
    assert server.lines[:3] == [
        "opening polyp ...",
        "running the canary on polyp ...",
        f"serving polyp (onnxruntime fp32 on CPU) on http://{address.netloc}",
    ]
    [last] = server.lines[3:]
    assert last.startswith("stopped after ")
    assert int(last.split()[2]) >= len(in_time)


def test_what_waits_at_the_door_when_the_signal_comes_is_let_in(served_bundle: Path, images: UInt8) -> None:
    """A process that stands still has accepted nothing of what was sent to it when it finds the signal."""
    with served(served_bundle) as server, ThreadPoolExecutor(8) as pool, ExitStack() as stack:
        server.process.send_signal(signal.SIGSTOP)
        opened = [
            stack.enter_context(socket.create_connection((server.address.host, server.address.port), 60))
            for _ in range(8)
        ]
        for connection in opened:
            connection.sendall(spoken(images[:1]))
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        heads = list(pool.map(lambda connection: connection.recv(12), opened))
        code = server.process.wait(60)

    assert heads == [b"HTTP/1.1 200"] * 8
    assert code == 0


def test_a_second_ctrl_c_ends_it_without_waiting(served_bundle: Path, images: UInt8) -> None:
    """For what is there: the answers are 503 then, not what they would have been."""
    many = np.concatenate([images] * 600)
    with (
        served(served_bundle, "--max-queue", "4000", "--max-request-mib", "80", "--threads", "1") as server,
        ThreadPoolExecutor(2) as pool,
    ):
        inside = [pool.submit(post, server.address, many) for _ in range(2)]
        wait_until(lambda: metric(server.address, "segdino_queue_images") > 0)
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: raw(server.address, b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n") == b"refused")
        code = server.end(signal.SIGINT)
        statuses = [answer.result().status_code for answer in inside]

    assert code == 0
    assert 503 in statuses
    assert len(server.lines) == 4  # three at the start, one at the end


def test_the_token_of_the_environment_opens_it_to_other_machines(served_bundle: Path) -> None:
    token = "a-token-of-the-environment"
    with served(served_bundle, "--host", "0.0.0.0", "--access-log", SEGDINO_TOKEN=token) as server:
        address = Address("127.0.0.1", server.address.port)
        refused = httpx.get(address("/v2"))
        let_in = httpx.get(address("/v2"), headers={"Authorization": f"Bearer {token}"})
        arguments = Path(f"/proc/{server.process.pid}/cmdline")
        seen = arguments.read_text() if arguments.exists() else ""
        code = server.end(signal.SIGTERM)

    assert (refused.status_code, let_in.status_code, code) == (401, 200, 0)
    assert token not in seen + "".join(server.lines)
    assert [line.split('"')[1:] for line in server.lines if "GET" in line] == [
        ["GET /v2 HTTP/1.1", " 401"],
        ["GET /v2 HTTP/1.1", " 200"],
    ]


Cli = Callable[..., tuple[int, str]]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """The program in this process: its exit code and what it has said."""

    def call(*arguments: object) -> tuple[int, str]:
        code = run(["serve", *map(str, arguments)])
        return code, capfd.readouterr().err

    return call


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "other machines could ask without a token"),
        (["--max-batch", "9"], "--max-batch: 9 is more than polyp takes, which is 4"),
        (["--token-file", "/nowhere/token"], "--token-file /nowhere/token: cannot be read"),
        (["--backend", "openvino"], "no openvino engine"),
        (["--max-queue", "0"], "--max-queue: 0 is not between 1 and"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(
    arguments: list[str], says: str, served_bundle: Path, cli: Cli
) -> None:
    code, said = cli(served_bundle, "--port", 0, *arguments)

    assert code == InputError.exit_code == 2
    assert says in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_port_in_use_is_told_before_anything_is_opened(served_bundle: Path, cli: Cli) -> None:
    with open_address("127.0.0.1", 0, has_token=False) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        code, said = cli(served_bundle, "--port", port)

    assert code == 2
    assert said == f"error: --host 127.0.0.1 --port {port}: cannot be listened on (Address already in use)\n"


def test_what_it_needs_is_named_where_it_is_missing(
    served_bundle: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segdino_deploy.requirements.has_module", lambda name: name != "uvicorn")
    code, said = cli(served_bundle)

    assert code == 3
    assert said == "error: the HTTP server: uvicorn is not installed; pip install 'segdino-deploy[serve]'\n"


def test_load_and_overload_leave_its_memory_as_it_was(served_bundle: Path, images: UInt8) -> None:
    """Eight clients at a queue of two: most are refused, nothing piles up. For ten minutes: `benchmarks/SCALE.md`."""
    with served(served_bundle, "--max-queue", "2") as server:

        def ask(seconds: float) -> dict[int, int]:
            address = server.address
            return run_round(lambda: connect(address.netloc, "polyp", images[:1]), 8, seconds).statuses

        ask(1)
        before_mib = resident_mib(server.address.netloc)
        statuses = ask(4)
        grown_mib = resident_mib(server.address.netloc) - before_mib
        code = server.end(signal.SIGTERM)

    assert set(statuses) == {200, 503}
    assert grown_mib < MEBIBYTES_OF_NOISE
    assert code == 0
