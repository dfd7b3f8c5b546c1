"""What the times of frames tell: whether the rate varies, and whether frames are missing."""

from __future__ import annotations

EXACT_COUNTS = frozenset({".mp4", ".m4v", ".mov", ".3gp", ".avi"})  # containers that list their frames


class FrameTimes:
    """Fed with the time of every frame in turn, in milliseconds; keeps sums only."""

    def __init__(self, fps: float) -> None:
        self._nominal_ms = 1e3 / fps
        self._first_ms = self._last_ms = 0.0
        self._count = 0
        self._irregular = 0
        self._missing = 0  # frames for which the gaps have room
        self.shortest_ms = self.longest_ms = self._nominal_ms

    def add(self, time_ms: float) -> None:
        if self._count:
            step_ms = time_ms - self._last_ms
            # Matroska rounds to whole milliseconds
            self._irregular += abs(step_ms - self._nominal_ms) > 0.25 * self._nominal_ms + 1
            self._missing += max(0, round(step_ms / self._nominal_ms) - 1)
            self.shortest_ms, self.longest_ms = min(self.shortest_ms, step_ms), max(self.longest_ms, step_ms)
        else:
            self._first_ms = time_ms
        self._last_ms = time_ms
        self._count += 1

    @property
    def is_variable(self) -> bool:
        """More than a stray frame in a hundred comes early or late."""
        return self._irregular > max(1, self._count // 100)

    def is_incomplete(self, promised: int, is_exact: bool) -> bool:
        """Whether frames of the promised number are missing: at the end, or where the times have gaps.

        The count alone does not tell: of a container that does not list its frames (`is_exact` False) it is estimated
        from the duration.
        """
        shortfall = promised - self._count
        if shortfall <= (0 if is_exact else 1):
            return False
        length_ms = self._last_ms - self._first_ms + self._nominal_ms
        ends_early = length_ms < (promised - 0.5) * self._nominal_ms
        return ends_early or self._missing >= max(1, shortfall / 2)
