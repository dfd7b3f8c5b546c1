"""What cannot be asked of a build is refused where it is asked, for Python callers as on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.precision.budget.options import Budget, HeldOutOptions
from segdino_deploy.errors import InputError

HELD_OUT = HeldOutOptions(Path("images"))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_budget_is_a_number_from_zero_on(value: float) -> None:
    with pytest.raises(InputError, match=f"--max-drop: {value:g} is not a number of percent from 0 on"):
        Budget(value, HELD_OUT)


def test_a_budget_is_for_int8_and_chooses_the_groups_itself() -> None:
    budget = Budget(0.0, HELD_OUT)
    assert BuildOptions("int8", budget=budget).budget == budget

    with pytest.raises(InputError, match="--max-drop: is for --int8; other precisions have nothing to choose"):
        BuildOptions("fp16", budget=budget)
    with pytest.raises(InputError, match="--fp32-groups: --max-drop finds them: leave out one of the two"):
        BuildOptions("int8", budget=budget, fp32_groups=())
