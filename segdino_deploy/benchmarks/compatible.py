"""What of two stored runs can be compared: whether they measured the same thing in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from segdino_deploy.benchmarks.result import BenchResult, Data
from segdino_deploy.benchmarks.statistics import MIN_ROUNDS
from segdino_deploy.manifest import HeadCard

Values = tuple[str, str, str]  # what, its value in the old run, in the new one


@dataclass(frozen=True)
class Compatibility:
    speed: bool
    scores: bool  # against the truth
    agreement: bool  # with the reference
    notes: list[str]  # every difference, and what is not compared for it


def compatibility(old: BenchResult, new: BenchResult) -> Compatibility:
    """What two runs allow to compare.

    Speed needs the same reference, model, machine, threads and inputs, and rounds enough for an interval; scores need
    the same images, truth and input size; agreement needs the same images and size, and a reference that gives the same
    masks.
    """
    of_speed, of_images = _differing(_speed(old, new)), _differing(_images(old, new))
    of_truth, of_reference = _differing(_truth(old, new)), _differing(_reference(old, new))
    others = _differing(_others(old, new))
    has_data = old.data is not None and new.data is not None
    has_truth = has_data and all(run.data is not None and run.data.has_masks for run in (old, new))
    scores = has_truth and not of_images and not of_truth
    agreement = has_data and not of_images and not of_reference
    too_few_rounds = min(old.rounds, new.rounds) < MIN_ROUNDS
    notes = [_note(entry) for entry in dict.fromkeys([*of_speed, *of_images, *of_truth, *of_reference, *others])]
    if of_speed:
        notes.append(f"speed cannot be judged: another {_names(of_speed)}")
    elif too_few_rounds:
        notes.append(f"speed cannot be judged: a run has fewer than {MIN_ROUNDS} rounds")
    if not has_data and (old.data or new.data):
        notes.append("accuracy is not compared: one of the runs scored no images")
    elif has_data:
        if not scores and (of_images or of_truth):
            notes.append(f"scores are not compared: other {_names([*of_images, *of_truth])}")
        if not agreement:
            notes.append(f"agreement is not compared: other {_names([*of_images, *of_reference])}")
    return Compatibility(not of_speed and not too_few_rounds, scores, agreement, notes)


def _speed(old: BenchResult, new: BenchResult) -> Iterator[Values]:
    yield "machine", old.environment.machine, new.environment.machine
    yield "threads", str(old.environment.threads), str(new.environment.threads)
    yield "reference", old.reference, new.reference
    yield "model", _model(old), _model(new)
    yield "input size", _size(old), _size(new)
    yield "batch", str(old.batch), str(new.batch)
    yield "outputs", " ".join(old.model.output_names), " ".join(new.model.output_names)


def _images(old: BenchResult, new: BenchResult) -> Iterator[Values]:
    """What both scores and agreement need."""
    yield "input size", _size(old), _size(new)
    if old.data is not None and new.data is not None:
        yield "images or masks", _digest(old.data), _digest(new.data)


def _truth(old: BenchResult, new: BenchResult) -> Iterator[Values]:
    if old.data is not None and new.data is not None:
        yield "scored head", old.data.scored_head, new.data.scored_head
        yield "scored classes", ", ".join(old.data.class_names), ", ".join(new.data.class_names)
        yield "foreground values", _foreground(old.data), _foreground(new.data)


def _reference(old: BenchResult, new: BenchResult) -> Iterator[Values]:
    yield "reference's files", old.reference_identity, new.reference_identity
    for what, before, after in _heads(old, new):
        if what.startswith("threshold"):
            yield what, before, after


def _others(old: BenchResult, new: BenchResult) -> Iterator[Values]:
    """What changes answers or times, and may be what the runs are compared for."""
    yield from _heads(old, new)
    yield "resize filter", old.model.resize_filter, new.model.resize_filter
    yield "system", old.environment.system, new.environment.system
    before, after = old.environment.versions, new.environment.versions
    for name in sorted(before.keys() & after.keys()):
        yield f"version of {name}", before[name], after[name]


def _heads(old: BenchResult, new: BenchResult) -> Iterator[Values]:
    """Of the heads that both models have."""
    after = {head.name: head for head in new.model.heads}
    for head in old.model.heads:
        if head.name in after:
            of = f" of {head.name}" if head.name else ""
            yield f"threshold{of}", f"{head.threshold:g}", f"{after[head.name].threshold:g}"
            yield f"checkpoint{of}", _checkpoint(head), _checkpoint(after[head.name])


def _differing(values: Iterator[Values]) -> list[Values]:
    return [entry for entry in values if entry[1] != entry[2]]


def _note(entry: Values) -> str:
    what, before, after = entry
    return f"another {what}: {before or 'none'}, then {after or 'none'}"


def _names(entries: list[Values]) -> str:
    return ", ".join(dict.fromkeys(what for what, _, _ in entries))


def _model(result: BenchResult) -> str:
    backbone = result.model.backbone
    return f"{result.model.summary}, ViT width {backbone.embed_dim}, {backbone.depth} blocks"


def _size(result: BenchResult) -> str:
    return "x".join(map(str, result.model.input_size))


def _digest(data: Data) -> str:
    return f"{len(data.images)} with sha256 {data.sha256[:12]}"


def _foreground(data: Data) -> str:
    return "as the layout has it" if data.foreground is None else ",".join(map(str, data.foreground))


def _checkpoint(head: HeadCard) -> str:
    return f"{head.checkpoint.name} {head.checkpoint.sha256[:12]}"
