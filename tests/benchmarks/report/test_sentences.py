"""The verdict in words."""

from __future__ import annotations

from segdino_deploy.benchmarks.report.sentences import caption, summarise
from segdino_deploy.benchmarks.result import BenchResult, Interval
from tests.benchmarks.report.example import make_example, make_minimal


def _without_failures(result: BenchResult) -> BenchResult:
    passed = [verdict for verdict in result.verdicts if verdict.passed]
    names = {verdict.engine for verdict in passed} | {result.reference}
    rows = [row for row in result.rows if row.name in names]
    return result.model_copy(update={"verdicts": passed, "rows": rows, "not_run": {}})


def test_a_missed_budget_comes_first_and_names_the_engine() -> None:
    summary = summarise(make_example().result)

    assert summary.state == "fail"
    assert summary.headline.startswith(
        "Failed: 1 of 5 engines exceeds the budget of 0.5 Dice points (onnxruntime-int8)"
    )
    assert summary.headline.endswith("; not judged, as not run here: tensorrt-fp16.")
    states = {line.name: line.state for line in summary.lines}
    assert states["onnxruntime-int8"] == "fail"
    assert states["openvino-int8"] == "pass"
    assert states["tensorrt-fp16"] == "not run"  # never silently dropped
    assert states["torch-fp32"] == "reference"


def test_a_kept_budget_is_said_in_one_line() -> None:
    summary = summarise(_without_failures(make_example().result))

    assert (summary.state, summary.headline) == ("pass", "Passed: all 4 engines keep the budget of 0.5 Dice points.")


def test_an_interval_beyond_the_budget_is_not_hidden_by_a_pass() -> None:
    result = _without_failures(make_example().result)
    wide = result.verdicts[2].model_copy(update={"interval": Interval(low=0.1, high=0.9)})
    unsettled = result.model_copy(update={"verdicts": [*result.verdicts[:2], wide, *result.verdicts[3:]]})

    assert "; the interval of openvino-int8 goes beyond it" in summarise(unsettled).headline


def test_few_images_are_not_hidden_by_a_pass() -> None:
    result = _without_failures(make_example().result)
    few = [verdict.model_copy(update={"images": 8}) for verdict in result.verdicts]

    assert summarise(result.model_copy(update={"verdicts": few})).headline.endswith("; 8 images cannot settle it.")


def test_a_budget_by_which_nothing_was_judged_is_a_failure() -> None:
    result = make_example().result
    alone = result.model_copy(update={"rows": result.rows[:1], "verdicts": []})

    summary = summarise(alone)

    assert summary.state == "fail"
    assert summary.headline == (
        "Failed: a budget was named, but nothing was judged; not judged, as not run here: tensorrt-fp16."
    )


def test_an_engine_with_two_heads_passes_where_both_keep_the_budget() -> None:
    result = _without_failures(make_example().result)
    first = result.verdicts[0]
    detail = f"{first.engine} changes 3.000% of the pixels of head tool over 40 images, more than the budget of 0.5"
    other = first.model_copy(
        update={"head": "tool", "passed": False, "unit": "% of pixels changed", "drop": 3.0, "detail": detail}
    )

    summary = summarise(result.model_copy(update={"verdicts": [*result.verdicts, other]}))

    assert summary.headline.startswith(
        f"Failed: 1 of 4 engines exceeds the budget of 0.5 Dice points and % of pixels changed ({first.engine})"
    )
    line = next(line for line in summary.lines if line.name == first.engine)
    assert line.state == "fail"
    assert "Dice points" in line.sentence and "of head tool" in line.sentence


def test_a_reference_that_finds_nothing_is_the_headline() -> None:
    result = make_example().result
    verdicts = [v.model_copy(update={"passed": False, "is_judged": False}) for v in result.verdicts]

    headline = summarise(result.model_copy(update={"verdicts": verdicts})).headline

    assert headline.startswith("Failed: the budget of 0.5 Dice points cannot be judged, the reference scores next to")


def test_without_a_budget_the_fastest_engine_and_its_change_are_stated() -> None:
    result = make_example(has_budget=False).result
    row = result.row("openvino-int8")
    assert row.accuracy is not None

    summary = summarise(result)

    change = row.accuracy.summary["dice"].difference
    assert change is not None and change < 0
    assert summary.state == "measured"
    assert summary.headline.startswith(f"Fastest: openvino-int8, {row.speed.with_copies_ratio.value:.2f} times as fast")
    assert f"{-change:.5f} lower than torch-fp32" in summary.headline
    assert "nothing is passed or failed" in summary.headline
    equal = next(line for line in summary.lines if line.name == "openvino-fp32")
    assert "the same as torch-fp32" in equal.sentence


def test_without_truth_the_sentences_are_about_pixels() -> None:
    summary = summarise(make_example(has_truth=False, has_budget=False).result)

    assert "% of the pixels have the reference's class" in summary.headline


def test_a_reference_alone_is_said_to_be_alone() -> None:
    assert summarise(make_minimal()).headline == "Only the reference was measured."


def test_the_caption_says_on_what() -> None:
    text = caption(make_example().result)

    assert text.startswith("v2, ViT width 384, 256x256, batch 1, 40 images; Example CPU @ 2.00GHz, 2 threads;")
    assert "the canary" in caption(make_minimal())
