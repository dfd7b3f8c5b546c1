"""What is shown of long work."""

from __future__ import annotations

import pytest

from segdino_deploy.cli import console
from segdino_deploy.cli.console import Progress


def shown(counts: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The last line after `counts`, (seconds on the clock, hundredths done)."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with Progress() as progress:
        monkeypatch.setattr(progress, "_is_terminal", True)  # where every count is a line
        for now[0], done in counts:
            progress.count("building", done, 100)
        last = capsys.readouterr().err.split("\x1b[2K")[-1]
    return last.strip()


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ([(0.0, 1), (4.0, 21), (10.0, 51)], "building: 51/100, 10 s left"),
        ([(0.0, 1), (4.0, 83)], "building: 83/100"),  # a burst at the start, as of TensorRT-RTX: nothing is known
        ([(0.0, 1), (2.1, 83), (2.6, 91)], "building: 91/100"),  # less than a second by the count, which is not so
        ([(0.0, 1), (4.0, 21), (10.0, 100)], "building: 100/100"),
    ],
)
def test_time_left_is_said_only_where_the_count_tells_it(
    counts: list[tuple[float, int]],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shown(counts, monkeypatch, capsys) == line
