"""How long work reports: the callbacks that library functions take, so that only the CLI decides what is shown."""

from __future__ import annotations

from collections.abc import Callable

OnStep = Callable[[str], None]  # what is being done now
OnCount = Callable[[int, int], None]  # done, total
OnStage = Callable[[str, int, int], None]  # stage, done, total


def ignore(*_: object) -> None:
    """Reports to nobody."""
