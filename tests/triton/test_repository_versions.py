"""Writing into a repository that is there: new versions, versions side by side, and what is not ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy import Bundle
from segdino_deploy.canary import canary_for
from segdino_deploy.errors import InputError
from segdino_deploy.triton.options import RepositoryOptions
from segdino_deploy.triton.plan import EngineChoice, plan_models
from segdino_deploy.triton.record import from_parameters
from segdino_deploy.triton.repository import write_repository
from tests.triton.conftest import Write
from tests.triton.simulated_models import ModelRepository


def test_writing_the_same_engine_again_changes_nothing(fixed: Path, write: Write) -> None:
    first = write(fixed, "onnxruntime-fp32")
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}

    again = write(fixed, "onnxruntime-fp32")

    assert (again.version, again.is_new_version) == (1, False)
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == before


def test_another_engine_becomes_the_next_version_and_the_old_one_goes(two_precisions: Path, write: Write) -> None:
    write(two_precisions, "onnxruntime-fp32")

    written = write(two_precisions, "onnxruntime-fp16", instances=2)

    model = ModelRepository(written.path.parent).models["fixed"]
    assert (written.version, list(model.versions)) == (2, [2])
    assert not (written.path / "1").exists()
    assert model.config.instance_group[0].count == 2
    records = from_parameters(model.parameters, "")
    assert {number: record.engine for number, record in records.items()} == {2: "onnxruntime-fp16"}
    assert sorted(path.name for path in written.path.parent.parent.iterdir() if path.name.startswith(".")) == []


def test_versions_are_served_side_by_side_where_asked(two_precisions: Path, dynamic: Path, write: Write) -> None:
    for engine in ("onnxruntime-fp32", "onnxruntime-fp16", "onnxruntime-fp32"):
        written = write(two_precisions, engine, versions=2)

    model = ModelRepository(written.path.parent).models["fixed"]
    images = canary_for(Bundle.open(two_precisions), "model.onnx").image
    assert sorted(model.versions) == [2, 3]  # the one that is written last is what clients get
    assert {n: r.engine for n, r in from_parameters(model.parameters, "").items()} == {
        2: "onnxruntime-fp16",
        3: "onnxruntime-fp32",
    }
    fp16, fp32 = (model.infer(number, {"image": images})["logits"] for number in ("2", "3"))
    assert 0 < np.abs(fp16 - fp32).max() < 0.01

    with pytest.raises(InputError, match=r"other inputs, outputs, batch or backend than version 3.*--versions 1"):
        write(dynamic, "onnxruntime-fp32", "fixed", versions=2)
    assert write(dynamic, "onnxruntime-fp32", "fixed").versions == (4,)
    assert ModelRepository(written.path.parent).models["fixed"].config.max_batch_size == 4
    named = {*ModelRepository(written.path.parent).models["fixed"].files}
    assert {path.relative_to(written.path).as_posix() for path in written.path.rglob("*.*")} == named


def test_a_damaged_copy_is_replaced_by_a_new_version(fixed: Path, write: Write) -> None:
    first = write(fixed, "onnxruntime-fp32")
    (first.path / "1" / "model.onnx").write_bytes(b"")

    assert write(fixed, "onnxruntime-fp32").versions == (2,)
    ModelRepository(first.path.parent)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "no model that this program wrote": lambda folder: (folder / "model.onnx").write_text("mine"),
    "a model that another program wrote": lambda folder: (folder / "config.pbtxt").write_text('backend: "python"'),
    "not a model configuration of Triton": lambda folder: (folder / "config.pbtxt").write_text("backend = python"),
    "damaged, not a text": lambda folder: (folder / "config.pbtxt").write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("message", list(FOREIGN))
def test_what_another_program_wrote_stays_as_it_is(message: str, fixed: Path, write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "fixed"
    folder.mkdir(parents=True)
    FOREIGN[message](folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}

    with pytest.raises(InputError, match=rf"{message}.*choose another --name or -o, or remove it"):
        write(fixed, "onnxruntime-fp32")

    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert write(fixed, "onnxruntime-fp32", "beside").versions == (1,)


def test_a_bundle_is_no_repository(fixed: Path) -> None:
    (planned,) = plan_models([fixed], EngineChoice("onnxruntime-fp32"), RepositoryOptions())
    with pytest.raises(InputError, match="is a bundle; choose another folder"):
        write_repository(fixed, [planned], RepositoryOptions())


def test_several_bundles_become_several_models_or_none(
    fixed: Path, dynamic: Path, own_copy: Bundle, tmp_path: Path
) -> None:
    choice, options = EngineChoice(backend="onnxruntime"), RepositoryOptions()

    written = write_repository(tmp_path / "repository", plan_models([fixed, dynamic], choice, options), options)

    assert [model.name for model in written] == ["fixed", "dynamic"]
    assert sorted(ModelRepository(tmp_path / "repository").models) == ["dynamic", "fixed"]
    with pytest.raises(InputError, match="would both be the model fixed"):
        plan_models([fixed, own_copy.path], choice, options)
    with pytest.raises(InputError, match="--name: is for one bundle"):
        plan_models([fixed, dynamic], choice, options, "both")
