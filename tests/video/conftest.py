"""The program as a function, as in tests/cli."""

from tests.cli.conftest import cli

__all__ = ["cli"]
