"""Load: clients that ask again as soon as they are answered, and what they saw."""

from __future__ import annotations

import http.client
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.scale.result import MIB, Load

Ask = Callable[[], int]  # asks once, and gives the answer's status
ANSWERED = 200
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Round:
    """What some clients saw in one round. Latencies are of the requests that were answered with 200."""

    clients: int
    seconds: float
    statuses: dict[int, int]
    latencies_ms: list[float]

    @property
    def images_per_s(self) -> float:
        """Of requests that hold one image each."""
        return self.statuses.get(ANSWERED, 0) / self.seconds


def connect(netloc: str, model: str, image: NDArray[np.uint8]) -> Ask:
    """One client with a connection of its own. `image`: uint8 `[1, H, W, 3]`, asked of as a binary tensor of v2."""
    connection = http.client.HTTPConnection(netloc, timeout=TIMEOUT_S)
    size = {"binary_data_size": image.nbytes}
    tensor = {"name": "image", "shape": list(image.shape), "datatype": "UINT8", "parameters": size}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body, headers = header + image.tobytes(), {"Inference-Header-Content-Length": str(len(header))}

    def ask() -> int:
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        with connection.getresponse() as answer:
            answer.read()
            return answer.status

    return ask


def run_round(make_client: Callable[[], Ask], clients: int, seconds: float) -> Round:
    """All clients at the same time for `seconds`; the requests that are on their way then are waited for."""
    statuses: Counter[int] = Counter()
    latencies_ms: list[float] = []
    lock = threading.Lock()
    started = time.perf_counter()

    def keep_asking(ask: Ask) -> None:
        while time.perf_counter() - started < seconds:
            began = time.perf_counter()
            status = ask()
            elapsed_ms = (time.perf_counter() - began) * 1e3
            with lock:
                statuses[status] += 1
                if status == ANSWERED:
                    latencies_ms.append(elapsed_ms)

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(keep_asking, make_client()) for _ in range(clients)]:
            done.result()
    return Round(clients, time.perf_counter() - started, dict(statuses), latencies_ms)


def summarise(rounds: Sequence[Round]) -> Load:
    """Of all rounds of one contestant with one number of clients. ValueError: nothing was answered."""
    statuses: Counter[int] = Counter()
    for one in rounds:
        statuses.update(one.statuses)
    latencies_ms = sorted(latency for one in rounds for latency in one.latencies_ms)
    if not latencies_ms:
        raise ValueError(f"nothing was answered; statuses {dict(statuses)}")
    return Load(
        clients=rounds[0].clients,
        images_per_s=statuses[ANSWERED] / sum(one.seconds for one in rounds),
        p50_ms=nearest_rank(latencies_ms, 50),
        p99_ms=nearest_rank(latencies_ms, 99),
        max_ms=latencies_ms[-1],
        statuses=dict(statuses),
        rounds=[round(one.images_per_s, 2) for one in rounds],
    )


def nearest_rank(ordered: Sequence[float], percent: float) -> float:
    """The smallest of the ordered values that at least `percent` of them do not exceed."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def resident_mib(netloc: str) -> float:
    """The server's memory, as its metrics tell it."""
    connection = http.client.HTTPConnection(netloc, timeout=TIMEOUT_S)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes ")) / MIB


def watch_memory(netloc: str, every_seconds: float, samples_mib: list[float], stop: threading.Event) -> None:
    """Adds a sample at a time, until `stop`."""
    while not stop.wait(every_seconds):
        samples_mib.append(round(resident_mib(netloc), 1))
