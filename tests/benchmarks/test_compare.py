"""Two stored runs: what changed is told from chance, and what cannot be compared is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.compare import compare, read_result, require_budget
from segdino_deploy.benchmarks.latency.summary import summarise
from segdino_deploy.benchmarks.report.comparison import cells, columns, sentences
from segdino_deploy.benchmarks.result import BenchResult, Ratio, Row
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.manifest import CheckpointCard
from tests.benchmarks.report.example import make_example

ENGINE = "openvino-int8"


def changed(result: BenchResult, name: str, **updates: object) -> BenchResult:
    rows = [row.model_copy(update=updates) if row.name == name else row for row in result.rows]
    return result.model_copy(update={"rows": rows})


def faster(row: Row, times: float) -> object:
    copies = summarise([sample / times for sample in row.speed.with_copies.samples_ms], 1)
    ratio = row.speed.with_copies_ratio
    ratio = ratio.model_copy(update={"value": ratio.value * times})
    return row.speed.model_copy(update={"with_copies": copies, "with_copies_ratio": ratio})


def with_dice(row: Row, lost: float) -> object:
    assert row.accuracy is not None
    dice = [None if value is None else value - lost for value in row.accuracy.per_image["dice"]]
    return row.accuracy.model_copy(update={"per_image": {**row.accuracy.per_image, "dice": dice}})


def test_a_run_compared_with_itself_has_not_changed() -> None:
    result = make_example().result

    comparison = compare(result, result, "old", "new")

    assert comparison.changes == []
    assert comparison.notes == []
    assert [engine.name for engine in comparison.engines] == [row.name for row in result.rows[1:]]
    assert all(engine.speed.value == pytest.approx(1) for engine in comparison.engines)
    assert all(engine.metrics["dice"].difference == 0 for engine in comparison.engines)
    require_budget(comparison, 0)


def test_an_engine_that_became_faster_and_worse_is_named_with_both() -> None:
    old = make_example().result
    row = old.row(ENGINE)
    new = changed(old, ENGINE, speed=faster(row, 2), accuracy=with_dice(row, 0.01))

    comparison = compare(old, new, "old", "new")

    change = next(engine for engine in comparison.engines if engine.name == ENGINE)
    assert change.speed.value == pytest.approx(2, rel=1e-4)  # stored samples are rounded
    assert change.metrics["dice"].difference == pytest.approx(-0.01)
    assert {(c.engine, c.what, c.is_better) for c in comparison.changes} == {
        (ENGINE, "speed", True),
        (ENGINE, "dice", False),
    }
    told = sentences(comparison)
    assert f"{ENGINE}: faster, its speed differs by more than the rounds explain" in told
    assert sum("of 20 numbers that did not change" in line for line in told) == 1
    assert f"{ENGINE}: Dice is WORSE than before" in told
    assert len(cells(change, comparison)) == len(columns(comparison))


def test_the_budget_of_a_comparison_is_dice_points() -> None:
    old = make_example().result
    new = changed(old, ENGINE, accuracy=with_dice(old.row(ENGINE), 0.01))
    comparison = compare(old, new, "old", "new")

    require_budget(comparison, 1.01)
    with pytest.raises(CheckFailed, match=f"{ENGINE} by 1.000 Dice points worse than in old, allowed 0.9"):
        require_budget(comparison, 0.9)


def test_scores_of_other_images_are_not_compared() -> None:
    old = make_example().result
    assert old.data is not None
    new = old.model_copy(update={"data": old.data.model_copy(update={"sha256": "other"})})

    comparison = compare(old, new, "old", "new")

    assert "scores are not compared: other images or masks" in comparison.notes
    assert "agreement is not compared: other images or masks" in comparison.notes
    assert all(engine.metrics == {} for engine in comparison.engines)
    with pytest.raises(InputError, match="no scores that can be compared; another images or masks"):
        require_budget(comparison, 1)


def with_data(result: BenchResult, **updates: object) -> BenchResult:
    assert result.data is not None
    return result.model_copy(update={"data": result.data.model_copy(update=updates)})


def with_head(result: BenchResult, **updates: object) -> BenchResult:
    head = result.model.heads[0].model_copy(update=updates)
    return result.model_copy(update={"model": result.model.model_copy(update={"heads": [head]})})


def with_input_size(result: BenchResult) -> BenchResult:
    return result.model_copy(update={"model": result.model.model_copy(update={"input_size": (512, 512)})})


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        (lambda run: with_data(run, foreground=[2]), {"agreement"}),
        (lambda run: with_data(run, scored_head="polyp"), {"agreement"}),
        (lambda run: with_data(run, class_names=["a", "b", "c"]), {"agreement"}),
        (lambda run: run.model_copy(update={"reference_identity": "torch-fp32 other"}), {"scores"}),
        (lambda run: with_head(run, threshold=0.9), {"scores"}),
        (lambda run: with_data(run, sha256="other"), set()),
        (with_input_size, set()),
    ],
    ids=["foreground", "head", "classes", "reference", "threshold", "images", "input size"],
)
def test_only_scores_of_the_same_truth_and_agreement_with_the_same_reference_are_compared(
    changes: Callable[[BenchResult], BenchResult], compared: set[str]
) -> None:
    old = make_example().result

    comparison = compare(old, changes(old), "old", "new")

    keys = set(comparison.engines[0].metrics)
    assert ("dice" in keys, "agreement" in keys) == ("scores" in compared, "agreement" in compared)
    assert any(note.startswith("another ") for note in comparison.notes)
    assert sum("not compared: other" in note for note in comparison.notes) == 2 - len(compared)


@pytest.mark.parametrize("what", ["machine", "threads", "reference", "input size", "batch", "rounds"])
def test_speed_is_not_called_changed_where_another_thing_was_measured(what: str) -> None:
    old = make_example().result
    new = changed(old, ENGINE, speed=faster(old.row(ENGINE), 2))
    environment = new.environment
    updates: dict[str, dict[str, object]] = {
        "machine": {"environment": environment.model_copy(update={"machine": "another"})},
        "threads": {"environment": environment.model_copy(update={"threads": 8})},
        "reference": {
            "reference": "model.onnx",
            "rows": [new.rows[0].model_copy(update={"name": "model.onnx"}), *new.rows[1:]],
        },
        "batch": {"batch": 4},
        "input size": {"model": with_input_size(new).model},
        "rounds": {"rounds": 4},
    }
    assert [change.what for change in compare(old, new, "old", "new").changes] == ["speed"]

    comparison = compare(old, new.model_copy(update=updates[what]), "old", "new")

    assert comparison.changes == []
    assert any(note.startswith("speed cannot be judged: ") and what in note for note in comparison.notes)


def test_what_may_explain_a_change_is_told() -> None:
    old = make_example().result
    versions = {**old.environment.versions, "openvino": "2027.0"}
    environment = old.environment.model_copy(update={"system": "Linux 7", "versions": versions})
    new = with_head(old, threshold=0.25, checkpoint=CheckpointCard(name="new.pth", sha256="f" * 64))
    card = new.model.model_copy(update={"resize_filter": "bicubic"})
    new = new.model_copy(update={"environment": environment, "model": card})

    notes = compare(old, new, "old", "new").notes

    assert notes[:5] == [
        "another threshold: 0.5, then 0.25",
        "another checkpoint: vits16_v2.pth 000000000000, then new.pth ffffffffffff",
        "another resize filter: bilinear, then bicubic",
        "another system: Linux 6.1, then Linux 7",
        "another version of openvino: 2026.4.1, then 2027.0",
    ]


@pytest.mark.parametrize(("times", "is_named"), [(1.06, False), (0.94, False), (1.2, True), (0.8, True)])
def test_what_one_run_and_the_next_differ_by_is_no_change_of_speed(times: float, is_named: bool) -> None:
    old = make_example().result
    new = changed(old, ENGINE, speed=faster(old.row(ENGINE), times))

    comparison = compare(old, new, "old", "new")

    change = next(engine for engine in comparison.engines if engine.name == ENGINE)
    assert change.speed.interval is not None
    assert not change.speed.interval.low <= 1 <= change.speed.interval.high  # the rounds alone would call all four one
    assert [c.what for c in comparison.changes] == (["speed"] if is_named else [])


def test_runs_of_few_rounds_and_images_are_shown_without_intervals() -> None:
    old = make_example().result
    rows = []
    for row in old.rows:
        copies = summarise(row.speed.with_copies.samples_ms[:4], 1)
        rows.append(row.model_copy(update={"speed": row.speed.model_copy(update={"with_copies": copies})}))
    few = old.model_copy(update={"rows": rows, "rounds": 4})

    comparison = compare(few, few, "old", "new")

    assert comparison.engines[0].speed == Ratio(value=1, interval=None)
    assert cells(comparison.engines[0], comparison)[3] == "1.000"


def test_the_budget_of_a_comparison_holds_for_heads_without_scores() -> None:
    def two_headed(lost: float) -> BenchResult:
        result = with_data(make_example().result, scored_head="polyp")
        rows = []
        for row in result.rows:
            assert row.accuracy is not None
            values = row.accuracy.per_image
            heads = {"polyp:agreement": values["agreement"], "tool:agreement": [0.9 - lost] * len(values["agreement"])}
            per_image = {"dice": values["dice"], **heads}
            rows.append(row.model_copy(update={"accuracy": row.accuracy.model_copy(update={"per_image": per_image})}))
        return result.model_copy(update={"rows": rows})

    comparison = compare(two_headed(0), two_headed(0.3), "old", "new")

    with pytest.raises(CheckFailed, match=f"{ENGINE} by 30.000 % of pixels of head tool"):
        require_budget(comparison, 0.5)
    require_budget(comparison, 30.1)


def test_an_engine_that_the_new_run_lacks_keeps_no_budget() -> None:
    old = make_example().result
    new = old.model_copy(update={"rows": [row for row in old.rows if row.name != ENGINE]})

    with pytest.raises(CheckFailed, match=f"{ENGINE} of old is not in new: not judged"):
        require_budget(compare(old, new, "old", "new"), 1)


def test_engines_of_one_run_and_another_machine_are_said() -> None:
    old = make_example().result
    environment = old.environment.model_copy(update={"machine": "another processor"})
    new = old.model_copy(update={"rows": [row for row in old.rows if row.name != ENGINE], "environment": environment})

    told = sentences(compare(old, new, "old.json", "new.json"))

    assert f"only in old.json: {ENGINE}" in told
    assert any(line.startswith("another machine: ") and line.endswith("then another processor") for line in told)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{}", "no report.json of this version"),
        ('{"schema_version": 1}', "no report.json of this version"),
        (make_example().result.model_dump_json().replace('"schema_version":2', '"schema_version":99'), "this version"),
        (make_example().result.model_dump_json().replace('"reference":"torch-fp32"', '"reference":"x"'), "no row of"),
        ("not json", "no report.json of this version"),
    ],
    ids=["no file", "empty", "version 1", "version 99", "no reference", "no JSON"],
)
def test_a_file_that_is_no_report_is_one_clear_error(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(InputError, match=message):
        read_result(path)


def test_a_damaged_report_is_told_from_one_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    document = json.loads(make_example().result.model_dump_json())
    path.write_text(json.dumps(document, indent=1))
    assert read_result(path) == make_example().result
    del document["rows"]
    path.write_text(json.dumps(document, indent=1))

    with pytest.raises(InputError, match="is damaged"):
        read_result(path)
