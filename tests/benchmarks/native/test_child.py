"""A process that does not keep to the protocol ends the wait for it, in one line."""

from __future__ import annotations

import sys

import pytest

from segdino_deploy.benchmarks.native.child import Child
from segdino_deploy.errors import SegdinoDeployError


def heard(program: str) -> str:
    child = Child([sys.executable, "-c", program], "engine (C++)", answers_within_s=0.5)
    try:
        with pytest.raises(SegdinoDeployError) as error:
            child.listen()
    finally:
        child.close()
    return str(error.value)


def test_one_that_hangs_is_killed() -> None:
    assert (
        heard("import time; time.sleep(600)") == "engine (C++): its process has ended with status -9: it said nothing"
    )


@pytest.mark.parametrize("line", ["[]", '{"bytes": null}', '{"bytes": "many"}', "{"])
def test_json_that_is_not_of_the_protocol_is_no_answer(line: str) -> None:
    assert "its process has ended with status 0" in heard(f"print({line!r})")
