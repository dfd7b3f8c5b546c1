"""What can be asked of a model repository and of a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segdino_deploy.errors import InputError

TOKEN_VARIABLE = "SEGDINO_DEPLOY_TRITON_TOKEN"  # the client's token, where no process list shows it


@dataclass(frozen=True)
class RepositoryOptions:
    """How models are served. Raises InputError where a value cannot work."""

    instances: int = 1  # executions of a model at the same time, on each GPU or on the CPU
    threads: int | None = None  # of one execution on a CPU; None: the library's own choice, as of our runners
    max_queue_delay_us: int | None = None  # microseconds a request may wait for others; None: Triton's default, 0
    preferred_batch: tuple[int, ...] = ()  # batch sizes that are worth that wait; empty: the largest
    versions: int = 1  # of a model that are kept and served side by side, the newest ones
    accept_bf16: bool = False  # OpenVINO: bf16 where the server's CPU has it, though the engine was measured in f32

    def __post_init__(self) -> None:
        for option, value in (
            ("--instances", self.instances),
            ("--threads", self.threads),
            ("--versions", self.versions),
            *(("--preferred-batch", size) for size in self.preferred_batch),
        ):
            if value is not None and value < 1:
                raise InputError(f"{option}: {value} is below 1")
        if self.max_queue_delay_us is not None and self.max_queue_delay_us < 0:
            raise InputError(f"--max-queue-delay-us: {self.max_queue_delay_us} is below 0")

    @property
    def asks_for_batching(self) -> bool:
        return self.max_queue_delay_us is not None or bool(self.preferred_batch)


@dataclass(frozen=True)
class ClientOptions:
    """How a server is asked. Raises InputError where a value cannot work."""

    url: str  # grpc://host:port, http://host:port, or grpcs and https
    model: str | None = None  # None: the name that the bundle gives, as in `segdino-deploy triton`
    version: int | None = None  # None: the newest that the server has ready
    timeout_seconds: float = 60.0  # of one call
    attempts: int = 4  # where the connection is refused: a server that starts, or starts again
    retry_seconds: float = 0.25  # before the second attempt; doubled before each one that follows
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets, perhaps: not for logs
    ca_file: Path | None = None  # of the certificate authority, PEM; None: those of the system

    def __post_init__(self) -> None:
        if not self.timeout_seconds > 0:
            raise InputError(f"--triton-timeout: {self.timeout_seconds:g} is not above 0")
        if self.attempts < 1:
            raise InputError(f"attempts: {self.attempts} is below 1")
        if self.version is not None and self.version < 1:
            raise InputError(f"--triton-version: {self.version} is below 1")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise InputError(f"--triton-ca: {self.ca_file}: no such file")
