"""The program as a function: what a command printed, and its exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from segdino_deploy.cli.app import run


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The last line of stderr, which must be the error."""
        line = self.stderr.splitlines()[-1]
        assert line.startswith("error: ")
        assert "Traceback" not in self.stderr
        return line


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def call(*arguments: object) -> Result:
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


Cli = Callable[..., Result]
