"""The result in sentences: the verdict first, then one line per contestant. Facts, no advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segdino_deploy.benchmarks.contestants import TORCH
from segdino_deploy.benchmarks.metrics import METRICS, Key
from segdino_deploy.benchmarks.report.keys import deciding_key
from segdino_deploy.benchmarks.report.wording import (
    between,
    change_digits,
    direction,
    fixed,
    is_nothing,
    ms_digits,
    plural,
)
from segdino_deploy.benchmarks.result import BenchResult, Environment, Ratio, Row, Verdict
from segdino_deploy.benchmarks.statistics import ENOUGH_IMAGES, MIN_ROUNDS

State = Literal["pass", "fail", "measured", "reference", "not run"]


@dataclass(frozen=True)
class Line:
    """One contestant in one sentence or two."""

    name: str
    state: State
    sentence: str

    @property
    def mark(self) -> str:
        """For the eye; `state` says the same in words."""
        return {"pass": "✓", "fail": "✗", "not run": "○"}.get(self.state, "")


@dataclass(frozen=True)
class Summary:
    headline: str
    state: Literal["pass", "fail", "measured"]
    lines: list[Line]


def summarise(result: BenchResult) -> Summary:
    """What the page begins with. Engines that were not run are in it: they kept no budget."""
    reference = result.row(result.reference)
    lines = [Line(reference.name, "reference", _sentence(_milliseconds(result, reference)))]
    for row in result.rows:
        if row.name != result.reference:
            lines.append(_line(result, row))
    lines += [Line(name, "not run", _sentence(reason)) for name, reason in result.not_run.items()]
    if result.budget is not None:
        return Summary(_verdict_headline(result), "pass" if result.passed else "fail", lines)
    return Summary(_plain_headline(result), "measured", lines)


def model_line(result: BenchResult) -> str:
    height, width = result.model.input_size
    return f"{result.model.summary}, ViT width {result.model.backbone.embed_dim}, {height}x{width}"


def caption(result: BenchResult) -> str:
    """What was measured, on what, in one paragraph."""
    environment, data = result.environment, result.data
    images = plural(len(data.images), "image") if data is not None else "the canary"
    reference = result.reference
    if reference == TORCH and len(result.model.heads) > 1:
        reference += " (one whole model per head, one after the other)"
    interval = ", with its 95% interval" if result.rounds >= MIN_ROUNDS else ""
    scored = f"; scores of the head {data.scored_head}" if data is not None and data.scored_head else ""
    return (
        f"{model_line(result)}, batch {result.batch}, {images}; {environment.machine}, "
        f"{plural(environment.threads, 'thread')}; {result.rounds} interleaved rounds after {result.warmup} to warm "
        f"up; milliseconds per image with copies; x reference: times as fast as {reference}, median over the "
        f"rounds{interval}{scored}.{busy_words(environment)}"
    )


def busy_words(environment: Environment) -> str:
    """A warning where others kept the machine busy, with a space before it; empty where they did not."""
    if not environment.is_busy or environment.others_busy is None:
        return ""
    return (
        f" The machine was busy: others kept {environment.others_busy:.1f} of its processors at work while speed was "
        "measured, so that speeds and their ratios are not reliable."
    )


def change_in_words(result: BenchResult, row: Row, key: Key) -> str:
    """`Dice 0.8650, 0.0123 lower than the reference's (95% interval ...)`; empty where it was not measured."""
    summary = None if row.accuracy is None else row.accuracy.summary.get(key.text)
    if summary is None or summary.mean is None:
        return ""
    metric = METRICS[key.metric]
    if key.metric == "agreement":
        where = f" of the head {key.head}" if key.head else ""
        return f"{fixed(100 * summary.mean, metric.digits - 2)}% of the pixels{where} have the reference's class"
    value = f"{key.label} {fixed(summary.mean, metric.digits)}"
    if summary.difference is None:
        return value
    if summary.difference == 0 and is_nothing(summary.difference_interval):
        return f"{value}, the same as {result.reference}"
    change = fixed(abs(summary.difference), change_digits(key))
    words = f"{value}, {change} {'higher' if summary.difference > 0 else 'lower'} than {result.reference}"
    if summary.difference_interval is None:
        return words
    doubt = "" if direction(summary, key) else ", which holds zero"
    return f"{words} ({between(summary.difference_interval, change_digits(key), signed=True)}{doubt})"


def _line(result: BenchResult, row: Row) -> Line:
    speed = f"{_milliseconds(result, row)}, {_times_as_fast(row.speed.with_copies_ratio)} {result.reference}"
    verdicts = [verdict for verdict in result.verdicts if verdict.engine == row.name]
    if verdicts:
        findings = [_sentence(verdict.detail.removeprefix(f"{row.name} ")) for verdict in verdicts]
        state: State = "pass" if all(verdict.passed for verdict in verdicts) else "fail"
        return Line(row.name, state, " ".join([*findings, _sentence(speed)]))
    key = deciding_key(result)
    change = change_in_words(result, row, key) if key is not None else ""
    return Line(row.name, "measured", " ".join(_sentence(part) for part in (speed, change) if part))


def _verdict_headline(result: BenchResult) -> str:
    verdicts = result.verdicts
    if not verdicts:
        return "Failed: a budget was named, but nothing was judged" + _not_run_words(result)
    judged = len(_engines(verdicts))
    failed = _engines([verdict for verdict in verdicts if not verdict.passed])
    units = " and ".join(dict.fromkeys(verdict.unit for verdict in verdicts))
    budget = f"the budget of {result.budget:g}{'' if units.startswith('%') else ' '}{units}"
    if not all(verdict.is_judged for verdict in verdicts):
        text = f"Failed: {budget} cannot be judged, the reference scores next to nothing itself"
    elif failed:
        verb = "exceeds" if len(failed) == 1 else "exceed"
        text = f"Failed: {len(failed)} of {plural(judged, 'engine')} {verb} {budget} ({', '.join(failed)})"
    elif judged == 1:
        text = f"Passed: the engine keeps {budget}"
    else:
        text = f"Passed: all {judged} engines keep {budget}"
    unsettled = _engines([v for v in verdicts if v.passed and v.interval is not None and v.interval.high > v.budget])
    text += f"; the interval of {', '.join(unsettled)} goes beyond it" if unsettled else ""
    images = min(verdict.images for verdict in verdicts)
    text += f"; {plural(images, 'image')} cannot settle it" if images < ENOUGH_IMAGES and not failed else ""
    return text + _not_run_words(result)


def _engines(verdicts: Sequence[Verdict]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(verdict.engine for verdict in verdicts))


def _plain_headline(result: BenchResult) -> str:
    engines = [row for row in result.rows if row.name != result.reference]
    if not engines:
        return "Only the reference was measured" + _not_run_words(result)
    fastest = max(engines, key=lambda row: row.speed.with_copies_ratio.value)
    times = _times_as_fast(fastest.speed.with_copies_ratio)
    text = f"Fastest: {fastest.name}, {times} {result.reference}"
    key = deciding_key(result)
    change = change_in_words(result, fastest, key) if key is not None else ""
    text += f"; {change}" if change else "; accuracy was not measured"
    return f"{text}. No budget was named, so nothing is passed or failed" + _not_run_words(result)


def _not_run_words(result: BenchResult) -> str:
    count = len(result.not_run)
    if count and result.budget is not None:
        return f"; not judged, as not run here: {', '.join(result.not_run)}."
    return f"; {plural(count, 'engine')} {'was' if count == 1 else 'were'} not run." if count else "."


def _milliseconds(result: BenchResult, row: Row) -> str:
    return f"{fixed(row.speed.with_copies.p50_ms, ms_digits(result))} ms per image with copies"


def _times_as_fast(ratio: Ratio) -> str:
    interval = "" if ratio.interval is None else f" ({between(ratio.interval, 2)})"
    return f"{ratio.value:.2f} times as fast{interval} as"


def _sentence(text: str) -> str:
    """With a capital, unless it starts with a name such as `tensorrt-rtx`, and one full stop."""
    text = text.strip().rstrip(".")
    is_name = "-" in text.partition(" ")[0]
    return f"{text if is_name else text[:1].upper() + text[1:]}."
