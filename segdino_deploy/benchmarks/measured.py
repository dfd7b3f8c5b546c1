"""What one run has measured, and the parts of the record that are made of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from segdino_deploy import __version__
from segdino_deploy.benchmarks.contestants import CPP_LIBRARY, Contestants, engine_of, version_of
from segdino_deploy.benchmarks.data.data_set import DataSet, digest
from segdino_deploy.benchmarks.process import ProcessReport
from segdino_deploy.benchmarks.result import (
    Accuracy,
    Data,
    Energy,
    Environment,
    Layers,
    Row,
    Speed,
    Throughput,
    WorstCase,
)
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.run import Runner
from segdino_deploy.machine import machine_name
from segdino_deploy.manifest import HeadCard


@dataclass(frozen=True)
class Scored:
    """The images of a run and whose masks they have."""

    data: DataSet
    head: HeadCard | None  # None: there are no masks
    digests: list[str]  # of image and mask of each sample

    @property
    def sha256(self) -> str:
        return digest(self.data, self.digests)


@dataclass(frozen=True)
class Measured:
    """What was measured of each contestant, by name."""

    speed: dict[str, Speed]
    throughput: dict[str, list[Throughput]]
    energy: dict[str, Energy | None]
    accuracy: dict[str, Accuracy]
    worst: dict[str, list[WorstCase]]
    layers: dict[str, Layers | str]  # or why there are none
    process: dict[str, ProcessReport]
    others_busy: float | None  # processors, while speed was measured


def row_of(bundle: Bundle, name: str, runner: Runner, measured: Measured) -> Row:
    engine = bundle.manifest.engines.get(engine_of(name))
    process = measured.process[name]
    layers = measured.layers.get(name)
    return Row(
        name=name,
        backend=runner.backend,
        precision=runner.precision,
        device=runner.device,
        computes_in=None if engine is None else engine.inference_precision,
        speed=measured.speed[name],
        throughput=measured.throughput[name],
        start_up=process.start_up,
        peak_host_mib=process.peak_host_mib,
        device_mib=process.device_mib,
        energy=measured.energy[name],
        accuracy=measured.accuracy.get(name),
        worst=measured.worst.get(name, []),
        layers=None if isinstance(layers, str) else layers,
        no_layers=layers if isinstance(layers, str) else "",
        receipt={} if engine is None else engine.receipt,
    )


def data_of(scored: Scored, foreground: tuple[int, ...] | None) -> Data:
    data, head = scored.data, scored.head
    names: list[str] = []
    if head is not None:
        names = head.class_names if head.num_classes == 1 else head.class_names[1:]
    return Data(
        directory=data.directory.name,
        layout=data.layout,
        images=[sample.image.relative_to(data.directory).as_posix() for sample in data.samples],
        sha256=scored.sha256,
        has_masks=data.has_masks,
        scored_head="" if head is None else head.name,
        class_names=names,
        foreground=None if foreground is None else list(foreground),
    )


def environment_of(contestants: Contestants, threads: int) -> Environment:
    backends = {runner.backend for runner in contestants.runners.values()}
    versions = {name: version_of(name) for name in sorted(backends)}
    if contestants.program is not None:
        versions[CPP_LIBRARY] = contestants.program.identity
    return Environment(
        machine=machine_name(),
        system=f"{platform.system()} {platform.release()}",
        threads=threads,
        versions=versions | {"python": platform.python_version(), "segdino-deploy": __version__},
    )
