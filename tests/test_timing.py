"""Interleaved timing, without a clock in any assertion."""

from __future__ import annotations

from segdino_deploy.timing import every_round, interleave, median_ratio


def test_every_contestant_runs_once_per_round_and_the_order_rotates() -> None:
    calls: list[tuple[str, int]] = []

    def contestant(name: str):  # type: ignore[no-untyped-def]
        return lambda index: calls.append((name, index))

    samples = interleave({name: contestant(name) for name in "abc"}, rounds=3, warmup=1)

    assert {name: len(values) for name, values in samples.items()} == {"a": 3, "b": 3, "c": 3}
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert [sorted(name for name, _ in one) for one in rounds] == [["a", "b", "c"]] * 4
    assert len({tuple(name for name, _ in one) for one in rounds[1:]}) == 3
    assert [one[0][1] for one in rounds] == [0, 0, 1, 2]


def test_no_round_is_started_after_the_time_is_up() -> None:
    count: list[None] = []

    samples = interleave({"a": every_round(lambda: count.append(None))}, 100, warmup=1, at_least=4, seconds=0)

    assert len(samples["a"]) == 4
    assert len(count) == 5


def test_ratio_is_taken_round_by_round() -> None:
    # ratios of the rounds 1, 5, 10; the ratio of the medians would be 30 / 10 = 3
    assert median_ratio([10, 100, 30], [10, 20, 3]) == 5
