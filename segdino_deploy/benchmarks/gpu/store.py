"""The result file of a GPU: where it is, reading it to go on, writing it whole or not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import ValidationError

from segdino_deploy.atomic import write_atomically
from segdino_deploy.benchmarks.gpu.result import SCHEMA_VERSION, CaseResult, GpuResult, Machine
from segdino_deploy.errors import InputError, one_line


def file_name(gpu: str) -> str:
    """`NVIDIA H200` to `nvidia-h200.json`."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") + ".json"


def read_result(path: Path) -> GpuResult:
    """InputError where it is none, or of another version of this program."""
    try:
        content = json.loads(path.read_bytes())
        version = content.get("schema_version") if isinstance(content, dict) else None
        if isinstance(version, int) and version != SCHEMA_VERSION:
            which = "a newer" if version > SCHEMA_VERSION else "an older"
            raise InputError(f"{path}: written by {which} segdino-deploy (schema {version}); move it elsewhere")
        return GpuResult.model_validate(content)
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"{path}: no result of the GPU suite ({one_line(error)}); move it elsewhere") from error


class Store:
    """The results of one machine, on disk after every change."""

    def __init__(self, directory: Path, machine: Machine) -> None:
        """Takes up what the file holds. InputError where it cannot be read, or is of another GPU."""
        self.path = directory / file_name(machine.name)
        self.result = GpuResult(machine=machine)
        if self.path.exists():
            self.result = read_result(self.path)
            then, now = self.result.machine, machine
            if (then.kind, then.name) != (now.kind, now.name):
                raise InputError(f"{self.path}: is of {then.name}, this machine has {now.name}; name another -o")

    def save(self, case: CaseResult) -> None:
        self.result = self.result.with_case(case)
        write_atomically(self.path, (self.result.model_dump_json(indent=1) + "\n").encode())
