"""What one case has measured, as it is stored; the tables are rendered from it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from segdino_deploy.benchmarks.accuracy.scores import Scores
from segdino_deploy.benchmarks.latency.summary import Latency
from segdino_deploy.manifest import ModelCard


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Contestant(Entry):
    """One model on the scored images."""

    name: str
    inference_precision: str  # what it computes in, outside its int8 parts
    latency: Latency
    times_faster: float  # than PyTorch eager, median over the rounds
    times_faster_than_peer: float  # than the faster one of the peer's, median over the rounds
    scores: Scores  # against the truth
    agreement: float  # with PyTorch eager's masks, share of pixels
    changed_in_band_percent: float  # pixels near a boundary of PyTorch eager's masks whose class changed


class Plan(Entry):
    """What the search chose for our engine."""

    name: str
    groups: int  # of products that the search chose from
    fp32_groups: dict[str, str]  # those that stay in fp32, with the reason
    lowering: list[str]
    max_drop: float  # the budget, percent of pixels
    changed_percent: float  # pixels whose class the plan changes on the images of the search
    held_out_images: int  # of the search; none of them is scored


class Int8Result(Entry):
    """One case of the suite."""

    tool_version: str
    name: str
    model: ModelCard
    machine: str
    threads: int
    rounds: int
    warmup: int
    versions: dict[str, str]
    calibration_images: int  # the same files for both sides
    scored_images: int
    plan: Plan
    build_seconds: float  # calibration, search and build of our engine
    peer_seconds: float  # the peer's quantization
    reference: str
    best_peer: str  # the one with the lower median
    ours: str
    contestants: list[Contestant]

    def contestant(self, name: str) -> Contestant:
        return next(entry for entry in self.contestants if entry.name == name)
