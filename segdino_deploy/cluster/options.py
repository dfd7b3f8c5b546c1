"""Which cluster, and what each of its actors gets."""

from __future__ import annotations

from dataclasses import dataclass

from segdino_deploy.errors import InputError

LOCAL = "local"


@dataclass(frozen=True)
class RayOptions:
    """Raises InputError for what cannot be."""

    address: str = LOCAL  # `local` starts a cluster on this machine, and ends it
    actors: int | None = None  # each holds one engine; None: as many as the cluster has processors or GPUs for
    cpus_per_actor: int = 1  # also the engine's threads
    gpus_per_actor: float = 0.0

    def __post_init__(self) -> None:
        if self.actors is not None and self.actors < 1:
            raise InputError(f"--ray-actors: {self.actors}; at least 1")
        if self.cpus_per_actor < 1:
            raise InputError(f"--ray-cpus: {self.cpus_per_actor}; at least 1")
        if self.gpus_per_actor < 0:
            raise InputError(f"--ray-gpus: {self.gpus_per_actor}; 0, a share of one, or more")

    def actors_in(self, cpus: float, gpus: float) -> int:
        """How many actors a cluster with so much is to have. InputError where it can never have them."""
        room = int(cpus // self.cpus_per_actor)
        if self.gpus_per_actor:
            room = min(room, int(gpus / self.gpus_per_actor))
        wanted = max(1, room) if self.actors is None else self.actors
        if wanted > room:
            raise InputError(
                f"--ray-actors: {wanted} of {self.cpus_per_actor} CPU(s) and {self.gpus_per_actor:g} GPU(s) each do "
                f"not fit a cluster of {cpus:g} CPU(s) and {gpus:g} GPU(s); at most {room} do"
            )
        return wanted
