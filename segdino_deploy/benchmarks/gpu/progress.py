"""What is shown of a run: how much is done, and how long the rest will take if it goes on like this."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_SECONDS = 10.0  # of lines about rounds


class Progress:
    """Counts steps (preparing a contestant is one, measuring it another one) and writes lines."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._now = now
        self._began = now()
        self._last_count = now()
        self.total = 0
        self.done = 0

    def expect(self, steps: int) -> None:
        """More to do; less where negative."""
        self.total += steps

    def advance(self, steps: int = 1) -> None:
        self.done += steps

    def say(self, text: str) -> None:
        left = time_left(self._now() - self._began, self.done, self.total)
        self._write(f"[{self.done}/{self.total}{left and ', ' + left}] {text}")

    def count(self, text: str, done: int, total: int) -> None:
        """As `say`, but not too often."""
        if self._now() - self._last_count >= EVERY_SECONDS:
            self._last_count = self._now()
            self.say(f"{text}, round {done} of {total}")


def time_left(elapsed_seconds: float, done: int, total: int) -> str:
    """`about 14 min left`; empty where nothing is known yet."""
    if done < 1 or total <= done:
        return ""
    seconds = elapsed_seconds / done * (total - done)
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"
