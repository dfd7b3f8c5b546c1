"""The schema of a stored run."""

from __future__ import annotations

from segdino_deploy.benchmarks.result import Entry, Ratio

MIB = 2**20


class FolderRun(Entry):
    """A folder of images from files to files, in turn with the engine alone on the same images in memory."""

    images: int
    engine_s: list[float]  # one for each round
    masks_s: list[float]  # files to masks
    overlays_s: list[float]  # files to masks and overlays
    masks_share: Ratio  # of the engine's own throughput
    overlays_share: Ratio


class Load(Entry):
    """What clients saw who ask again as soon as they are answered. Latencies are of what was answered with 200."""

    clients: int
    images_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    statuses: dict[int, int]
    rounds: list[float]  # images per second of each


class ServedLoad(Entry):
    """The server under load of another process, in turn with as many threads that call the engine in that process."""

    server: Load
    engine: Load


class Overload(Entry):
    """More clients than the queue has places, for a long time."""

    max_queue: int
    load: Load
    seconds: float
    resident_mib: list[float]  # of the server, every `every_seconds`
    every_seconds: float


class LargeImage(Entry):
    """`predict --mode tile` of one large TIFF, in a process of its own."""

    side: int  # pixels; it is square
    tiles: int
    seconds: float
    peak_mib: float  # of the process, everything included


class ScaleResult(Entry):
    """One case of the suite."""

    name: str
    created: str
    tool_version: str
    machine: str
    threads: int
    others_busy: float | None  # processors that others kept busy meanwhile
    engine: str
    input_hw: tuple[int, int]
    folder: FolderRun
    served: list[ServedLoad]
    overload: Overload | None
    large_image: LargeImage | None
