"""The suite's file, its cases and contestants, and what is still to be done."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.gpu.models import VITS
from segdino_deploy.benchmarks.gpu.plan import (
    BASELINE,
    PRECISIONS_OF,
    Spec,
    cases_of,
    deadlines,
    given_up,
    pending,
    specs_of,
)
from segdino_deploy.benchmarks.gpu.result import Refusal
from segdino_deploy.benchmarks.gpu.suite import Suite, read_suite
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import Precision
from tests.benchmarks.gpu.fakes import EMPTY, FakeMakers, run_case

SUITE = Path(__file__).parents[3] / "benchmarks" / "gpu.toml"
GOOD = 'families = ["v1_convt"]\nvits = ["s"]\nbatches = [1]\nruntimes = ["tensorrt"]\nprecisions = ["fp16"]\n'


def tiny(**changes: object) -> Suite:
    values = {"families": ["v1_convt"], "vits": ["tiny"], "batches": [1], "runtimes": ["tensorrt"], "precisions": []}
    return Suite.model_validate({**values, "precisions": ["fp32"], **changes})


def test_the_stored_suite_asks_for_what_the_issue_names() -> None:
    suite = read_suite(SUITE)
    cases, specs = cases_of(suite), specs_of(suite)

    assert {(case.vit, case.size, case.batch) for case in cases} == {(v, 512, n) for v in "sb" for n in (1, 8)}
    assert {spec.runtime for spec in specs} == set(PRECISIONS_OF)
    assert {spec.export for spec in specs} == {"folded", "plain"}
    assert {spec.runtime for spec in specs if spec.precision == "int8"} == {"tensorrt", "tensorrt-rtx"}
    assert all(
        {p for s in specs if s.runtime == r for p in [s.precision]} >= {"fp32", "fp16", "bf16"} for r in PRECISIONS_OF
    )
    assert (VITS["s"].embed_dim, VITS["b"].embed_dim) == (384, 768)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "speed = 1", "speed"),
        (GOOD.replace("[1]", "[0]"), "batches"),
        (GOOD.replace("[1]", "[1, 1]"), "batches names one thing twice"),
        (GOOD.replace('"s"', '"g"'), "vits"),
        (GOOD.replace('["tensorrt"]', "[]"), "runtimes"),
        (GOOD + "size = 500", "size"),
        ("= 1", "suite.toml"),
    ],
)
def test_a_suite_that_does_not_fit_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(text)

    with pytest.raises(InputError, match=message):
        read_suite(tmp_path / "suite.toml")


def test_small_batches_come_first_and_one_case_can_be_chosen() -> None:
    suite = tiny(vits=["s", "b"], batches=[8, 1], size=256)

    names = [case.name for case in cases_of(suite)]

    assert names == [f"v1_convt-vit-{vit}-256-batch{batch}" for batch in (1, 8) for vit in "sb"]
    assert [case.name for case in cases_of(suite, names[2])] == [names[2]]
    with pytest.raises(InputError, match="--only: x is none of v1_convt-vit-s-256-batch1, "):
        cases_of(suite, "x")


def test_the_baseline_is_prepared_first_and_the_others_in_the_suites_order() -> None:
    suite = tiny(runtimes=["tensorrt", "torch-eager"], precisions=["int8", "fp32"])

    assert [spec.name for spec in specs_of(suite)] == [
        "torch-eager-fp32-plain",
        "tensorrt-int8-folded",
        "tensorrt-int8-plain",
        "tensorrt-fp32-folded",
        "tensorrt-fp32-plain",
        "torch-eager-fp32-folded",
    ]


def _spec(precision: Precision) -> Spec:
    return Spec("tensorrt", precision, "folded")


def test_who_is_measured_or_refused_is_done_and_who_was_not_installed_is_asked_again() -> None:
    specs = [BASELINE, _spec("fp32"), _spec("fp16"), _spec("bf16")]
    result = run_case(FakeMakers(), specs[:1])
    result = result.with_refusal(Refusal(name=specs[1].name, kind="failed", reason="refused"))
    result = result.with_refusal(Refusal(name=specs[2].name, kind="missing", reason="not installed"))

    assert pending(specs, None) == specs
    assert pending(specs, result) == specs[2:]


def test_two_processes_that_did_not_survive_it_are_enough() -> None:
    spec = _spec("fp32")
    once = EMPTY.with_attempt(spec.name, 1)
    twice = once.with_attempt(spec.name, 1)

    assert given_up([spec], once) == []
    assert given_up([spec], twice) == [spec]
    assert twice.with_attempt(spec.name, -1) == once
    assert once.with_attempt(spec.name, -1).unfinished == {}


def test_a_limited_case_keeps_time_to_open_and_to_measure() -> None:
    """Of 100 seconds from 50 on: 60 to prepare, 25 to open, 15 to measure."""
    limited, endless = deadlines(50, 150), deadlines(50, math.inf)

    assert (limited.prepare, limited.open, limited.measure) == (110, 135, 150)
    assert (endless.prepare, endless.open, endless.measure) == (math.inf,) * 3
