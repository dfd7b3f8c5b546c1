"""`segdino-deploy serve` in a process of its own, under load of this one."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.scale.load import ANSWERED, Ask, connect, run_round, summarise, watch_memory
from segdino_deploy.benchmarks.scale.result import Overload, ServedLoad
from segdino_deploy.engines.run import open_engine
from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.export.graph import INPUT

OVERLOAD_QUEUE = 6
OVERLOAD_CLIENTS = 8
SAMPLES = 60  # of memory, during the overload


@contextmanager
def server(bundle: Path, *options: str) -> Iterator[str]:
    """HOST:PORT of a server of one bundle. SegdinoDeployError with its last line where it does not come up."""
    command = [sys.executable, "-m", "segdino_deploy.cli.app", "serve", str(bundle), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = ""
            for line in process.stderr:
                found = re.search(r"http://(\S+)", line)
                if found:
                    break
            else:
                raise SegdinoDeployError(f"serve: {line.strip()}")
            rest = threading.Thread(target=process.stderr.read, daemon=True)  # else it would stop at a full pipe
            rest.start()
            yield found.group(1)
        finally:
            process.send_signal(signal.SIGTERM)


def measure_served(
    bundle: Path, clients: Sequence[int], rounds: int, round_seconds: float, on_step: Callable[[str], None]
) -> list[ServedLoad]:
    """Server and engine in turn, for every number of clients. SegdinoDeployError: the server does not come up."""
    results = []
    with open_engine(bundle) as runner, server(bundle) as netloc:
        image = example_image(runner)

        def make_http() -> Ask:
            return connect(netloc, bundle.stem, image)

        def make_direct() -> Ask:
            return lambda: ANSWERED if runner.run({INPUT: image}) else 0

        for count in clients:
            on_step(f"serving {count} clients")
            pairs = [
                (run_round(make_http, count, round_seconds), run_round(make_direct, count, round_seconds))
                for _ in range(rounds)
            ]
            served, direct = zip(*pairs, strict=True)
            results.append(ServedLoad(server=summarise(served), engine=summarise(direct)))
    return results


def measure_overload(bundle: Path, seconds: float) -> Overload:
    """More clients than places for `seconds`, and the server's memory meanwhile."""
    every_seconds = seconds / SAMPLES
    samples_mib: list[float] = []
    with open_engine(bundle) as runner:
        image = example_image(runner)
    with server(bundle, "--max-queue", str(OVERLOAD_QUEUE)) as netloc:
        stop = threading.Event()
        watcher = threading.Thread(target=watch_memory, args=(netloc, every_seconds, samples_mib, stop))
        watcher.start()
        try:
            seen = run_round(lambda: connect(netloc, bundle.stem, image), OVERLOAD_CLIENTS, seconds)
        finally:
            stop.set()
            watcher.join()
    return Overload(
        max_queue=OVERLOAD_QUEUE,
        load=summarise([seen]),
        seconds=round(seen.seconds, 1),
        resident_mib=samples_mib,
        every_seconds=every_seconds,
    )


def example_image(runner: Runner) -> NDArray[np.uint8]:
    """uint8 `[1, H, W, 3]` of noise: what is in it changes nothing about the time it takes."""
    return np.random.default_rng(0).integers(0, 256, (1, *runner.card.input_size, 3), dtype=np.uint8)
