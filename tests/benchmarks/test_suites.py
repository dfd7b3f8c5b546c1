"""The stored suites can be read, and say what is wrong with another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.benchmarks.whole.__main__ import main
from segdino_deploy.benchmarks.whole.suite import read_suite
from segdino_deploy.errors import InputError

ROOT = Path(__file__).parent.parent.parent
SUITE = ROOT / "benchmarks" / "mri.toml"


def test_every_stored_run_is_a_case_of_the_suite() -> None:
    cases = {case.name for case in read_suite(SUITE).cases}

    assert cases == {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rounds = 30", "rounds = 0", "rounds"),
        ("rounds = 30", "round = 30", "round"),
        ('openvino = ["fp32"', 'openvino = ["fp31"', "engines"),
        ('name = "vit-s-v2-256"', 'name = "vit-s-v1_convt-256"', "two cases have one name"),
    ],
)
def test_a_wrong_suite_is_refused_by_its_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE.read_text().replace(old, new))

    with pytest.raises(InputError, match=message):
        read_suite(path)


def test_data_that_is_not_there_is_told_before_anything_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(SUITE), "--data", str(tmp_path)]) == 2
    assert "has no train/image/" in capsys.readouterr().err
    assert main([str(SUITE), "--data", str(tmp_path), "--only", "nothing"]) == 2
    assert "--only: nothing is none of small-v1_convt-256" in capsys.readouterr().err


def test_a_case_in_cpp_asks_for_the_program_that_runs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("train/image", "test/image", "test/mask"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "vits16_v1_convt_wm.pth").touch()
    call = [str(SUITE), "--data", str(tmp_path), "--only", "vit-s-v1_convt-256-cpp"]

    assert main(call) == 2
    assert "--cpp: vit-s-v1_convt-256-cpp needs segdino_bench" in capsys.readouterr().err
    assert main([*call, "--cpp", str(tmp_path / "none")]) == 2
    assert f"--cpp: {tmp_path / 'none'}: no such" in capsys.readouterr().err
