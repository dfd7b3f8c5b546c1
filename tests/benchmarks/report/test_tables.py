"""Tables: what stands in a cell, and that the stored page follows from the stored runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.benchmarks.metrics import Key, parse_key
from segdino_deploy.benchmarks.report.accuracy_tables import accuracy_tables
from segdino_deploy.benchmarks.report.keys import deciding_key
from segdino_deploy.benchmarks.report.main_table import main_table
from segdino_deploy.benchmarks.report.speed_tables import cost_table, percentiles_table, speed_tables
from segdino_deploy.benchmarks.report.tables import cells, columns, render_directory
from segdino_deploy.benchmarks.report.wording import change_cell, fixed, mean_cell, ratio_cell
from segdino_deploy.benchmarks.result import SCHEMA_VERSION, BenchResult, Interval, MetricSummary, Ratio
from tests.benchmarks.report.example import CLASSES, CONTESTANTS, HOSTILE, ROUNDS, make_example, make_minimal

ROOT = Path(__file__).parent.parent.parent.parent
STORED = [
    path
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    if json.loads(path.read_bytes()).get("schema_version") == SCHEMA_VERSION
]
DICE, HD95 = Key("dice", "", "dice", ""), Key("hd95", "", "hd95", "")


@pytest.mark.skipif(not STORED, reason="no run of this schema is stored")
def test_results_page_is_what_the_stored_runs_render_to() -> None:
    assert (ROOT / "benchmarks" / "RESULTS.md").read_text() == render_directory(ROOT / "benchmarks" / "results")


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_summaries_follow_from_the_stored_samples(path: Path) -> None:
    result = BenchResult.model_validate_json(path.read_bytes())

    for row in result.rows:
        for latency in (row.speed.engine_only, row.speed.with_copies):
            assert len(latency.samples_ms) == result.rounds
            assert latency.p50_ms == pytest.approx(np.median(latency.samples_ms), abs=1e-3)
        assert len(cells(row, result)) == len(columns(result))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_engines_keep_the_references_dice(path: Path) -> None:
    """fp32 to four decimals, 16-bit types within .001."""
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    reference = rows["torch-fp32"]["accuracy"]["summary"]["dice"]["mean"]

    for row in rows.values():
        dice = row["accuracy"]["summary"]["dice"]["mean"]
        if row["precision"] == "fp32":
            assert round(dice, 4) == round(reference, 4)
        elif row["precision"] in ("fp16", "bf16"):
            assert abs(dice - reference) < 1e-3


def test_readme_states_the_dice_of_the_stored_training() -> None:
    dice = json.loads((ROOT / "examples" / "mri" / "training.json").read_text())["test_dice_white_matter_256"]

    assert f"Dice of {dice} for white matter" in (ROOT / "README.md").read_text()


def test_the_narrow_table_holds_what_was_measured() -> None:
    result = make_example().result
    row = result.row("openvino-int8")
    assert row.accuracy is not None and row.speed.file_to_mask is not None

    shown = dict(zip(columns(result), cells(row, result), strict=True))

    p50, p90, p99 = np.percentile(row.speed.with_copies.samples_ms, [50, 90, 99])
    dice = np.mean([value for value in row.accuracy.per_image["dice"] if value is not None])
    ratio = row.speed.with_copies_ratio
    assert ratio.interval is not None
    assert shown == {
        "engine": "openvino-int8",
        "p50 ms": f"{p50:.1f}",
        "p90 ms": f"{p90:.1f}",
        "p99 ms": f"{p99:.1f}",
        "x reference": f"{ratio.value:.2f} [{ratio.interval.low:.2f}, {ratio.interval.high:.2f}]",
        "file to mask p50 ms": f"{np.median(row.speed.file_to_mask.total.samples_ms):.1f}",
        "peak MiB": "312",
        "Dice": f"{dice:.4f}",
        "IoU": shown["IoU"],
        "HD95 px": shown["HD95 px"],
        "same pixels as reference": shown["same pixels as reference"],
    }
    assert shown["HD95 px"].endswith("(4 infinite)")  # images 0, 13, 26 and 39 of 40


def test_what_was_not_measured_has_no_column() -> None:
    result = make_minimal()

    assert columns(result) == ["engine", "p50 ms", "p90 ms", "p99 ms", "x reference", "peak MiB"]
    assert [table.id for table in speed_tables(result)] == ["ways", "percentiles", "cost"]
    assert "device memory" not in [column.label for column in cost_table(result).columns]


def test_energy_that_was_not_asked_for_is_not_said_to_be_untold() -> None:
    result = make_example().result
    nothing = {"energy": None, "device_mib": None}
    asked = result.model_copy(update={"rows": [row.model_copy(update=nothing) for row in result.rows]})
    not_asked = result.model_copy(
        update={"rows": [row.model_copy(update={**nothing, "throughput": []}) for row in result.rows]}
    )

    assert cost_table(asked).note.endswith("Not told by this platform: device memory and energy.")
    assert cost_table(not_asked).note.endswith("Not told by this platform: device memory.")


def test_notes_say_at_which_size_masks_are_scored_and_what_few_images_are_worth() -> None:
    means, changes = accuracy_tables(make_example().result)[:2]

    assert "at the model's size" in means.note and "HD95 is in pixels of the model's input" in means.note
    assert "in neither mask of an image counts as found" in means.note
    assert "fewer than 20 images are too narrow" in changes.note
    assert "model's size" not in accuracy_tables(make_example(has_truth=False).result)[0].note


def test_percentiles_has_a_row_for_each_contestant_and_way() -> None:
    table = percentiles_table(make_example().result)

    assert len(table.rows) == 3 * len(CONTESTANTS)
    assert {row[-1].value for row in table.rows} == {ROUNDS}
    assert "60 samples" in table.note


def test_milliseconds_of_a_fast_engine_have_more_digits() -> None:
    result = make_example().result
    rows = [
        row.model_copy(
            update={
                "speed": row.speed.model_copy(
                    update={"engine_only": row.speed.engine_only.model_copy(update={"p50_ms": 0.2134})}
                )
            }
        )
        for row in result.rows
    ]
    fast = result.model_copy(update={"rows": rows})

    assert fixed(0.2134, 3) == "0.213"
    assert main_table(fast).rows[0][1].text == f"{result.rows[0].speed.with_copies.p50_ms:.3f}"


def _summary(difference: float, low: float, high: float, left_out: int = 0) -> MetricSummary:
    interval = Interval(low=low, high=high)
    return MetricSummary(
        mean=0.88771, images=40, left_out=left_out, difference=difference, difference_interval=interval
    )


@pytest.mark.parametrize(
    ("summary", "key", "words"),
    [
        (_summary(-0.0123, -0.015, -0.0098), DICE, "-0.01230 [-0.01500, -0.00980] worse"),
        (_summary(0.0123, 0.0098, 0.015), DICE, "+0.01230 [+0.00980, +0.01500] better"),
        (_summary(0.5, 0.25, 0.75), HD95, "+0.500 [+0.250, +0.750] worse"),  # px: lower is better
        (_summary(-0.0001, -0.0003, 0.0001), DICE, "-0.00010 [-0.00030, +0.00010]"),  # holds zero
        (_summary(-0.0001, -0.0003, -0.000001), DICE, "-0.00010 [-0.00030, -0.00000] worse"),
        (_summary(0, 0, 0), DICE, "0"),
    ],
)
def test_a_change_is_called_worse_only_where_its_interval_leaves_zero_out(
    summary: MetricSummary, key: Key, words: str
) -> None:
    assert change_cell(summary, key).words == words


def test_agreement_with_the_reference_is_not_called_worse() -> None:
    assert change_cell(_summary(-0.02, -0.03, -0.01), Key("agreement", "", "agreement", "")).flag == ""


def test_what_a_mean_leaves_out_is_said() -> None:
    assert mean_cell(_summary(0, 0, 0, left_out=3), DICE).words == "0.8877 (3 not defined)"
    nothing = MetricSummary(mean=None, images=0, left_out=40, difference=None, difference_interval=None)
    assert mean_cell(nothing, DICE).words == "- (40 not defined)"
    assert mean_cell(nothing, DICE).value is None
    assert change_cell(nothing, DICE).words == "-"


def test_the_reference_is_once_as_fast_as_itself() -> None:
    assert ratio_cell(Ratio(value=1, interval=Interval(low=1, high=1))).words == "1.00"
    assert ratio_cell(Ratio(value=2.5, interval=None)).words == "2.50"  # of too few rounds
    assert ratio_cell(Ratio(value=2.5, interval=Interval(low=2.25, high=2.75))).words == "2.50 [2.25, 2.75]"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dice", ("", "dice", "")),
        ("dice/grey", ("", "dice", "grey")),
        ("polyp:agreement", ("polyp", "agreement", "")),
        ("polyp:dice/a:b/c", ("polyp", "dice", "a:b/c")),
        (f"iou/{HOSTILE}", ("", "iou", HOSTILE)),
    ],
)
def test_keys_of_any_class_name_come_apart(text: str, parts: tuple[str, str, str]) -> None:
    key = parse_key(text)

    assert (key.head, key.metric, key.class_name) == parts


def test_without_truth_the_head_that_loses_most_decides() -> None:
    result = make_example(has_truth=False).result
    assert deciding_key(result) == Key("agreement", "", "agreement", "")

    rows = []
    for row in result.rows:
        assert row.accuracy is not None
        values = row.accuracy.summary["agreement"]
        lower = values.model_copy(update={"mean": (values.mean or 0) - 0.1})
        summary = {"polyp:agreement": values, "lesion:agreement": lower}
        rows.append(row.model_copy(update={"accuracy": row.accuracy.model_copy(update={"summary": summary})}))

    key = deciding_key(result.model_copy(update={"rows": rows}))
    assert key is not None and key.text == "lesion:agreement"


def test_a_folder_of_results_becomes_one_page(tmp_path: Path) -> None:
    result = make_example().result
    (tmp_path / "first.json").write_text(result.model_dump_json())
    (tmp_path / "second.json").write_text(make_minimal().model_dump_json())

    text = render_directory(tmp_path)

    assert text.index("## first") < text.index("Failed: 1 of 5 engines") < text.index("## second")
    assert "tensorrt is not installed" in text
    assert all(name in text for name in ("openvino-fp16", "Change against torch-fp32"))
    assert CLASSES[0] not in text  # single classes are in the bundle's report
