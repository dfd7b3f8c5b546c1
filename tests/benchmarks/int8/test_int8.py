"""The int8 suite: its file, its data, the peer's script and its table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.benchmarks.accuracy.scores import ClassScores, Scores
from segdino_deploy.benchmarks.data.samples import find_samples
from segdino_deploy.benchmarks.int8 import peer
from segdino_deploy.benchmarks.int8.measure import changed_in_band_percent, copy_images, split_halves
from segdino_deploy.benchmarks.int8.report import COLUMNS, render_directory
from segdino_deploy.benchmarks.int8.result import Contestant, Int8Result, Plan
from segdino_deploy.benchmarks.int8.suite import read_suite
from segdino_deploy.benchmarks.latency.summary import summarise
from segdino_deploy.bundle import Bundle
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.timing import median_ratio
from tests.conftest import EXAMPLE

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
STORED = sorted((BENCHMARKS / "results" / "int8").glob("*.json"))

CASE = 'name = "a"\ncheckpoint = "a.pth"\nsize = 64\nmax_drop = 0.1\n'
FAKE_NNCF = """
import sys
import numpy as np
sys.modules["openvino"] = sys.modules[__name__]  # the script imports it after this one

class ModelType:
    TRANSFORMER = "transformer"

class Core:
    def read_model(self, path):
        return f"read {path}"

def Dataset(batches):
    return batches

def quantize(model, dataset, *, model_type, subset_size):
    assert model_type == "transformer" and subset_size == len(dataset), (model_type, subset_size)
    assert all(b.shape == (1, 2, 3, 3) and b.dtype == np.uint8 for b in dataset)
    return f"{model}, images that begin with {[int(b[0, 0, 0, 0]) for b in dataset]}"

def save_model(model, path, compress_to_fp16):
    assert compress_to_fp16 is False
    open(path, "w").write(model)
"""
FAKE_METADATA = "Metadata-Version: 2.1\nName: nncf\nVersion: 0.0.1\n"


def test_the_suite_names_both_families_at_both_sizes() -> None:
    suite = read_suite(BENCHMARKS / "int8.toml")

    assert [(case.name, case.size) for case in suite.cases] == [
        ("v1_convt-256", 256),
        ("v1_convt-512", 512),
        ("v2-256", 256),
        ("v2-512", 512),
    ]
    assert all(case.calibration_images == 64 for case in suite.cases)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"speed = 1\n[[cases]]\n{CASE}", "speed"),
        (f"[[cases]]\n{CASE}speed = 1\n", "speed"),
        (f"[[cases]]\n{CASE}[[cases]]\n{CASE}", "two cases have one name"),
        (f"[[cases]]\n{CASE.replace('0.1', '0')}", "max_drop"),
        ('[[cases]]\nname = "a/b"', "name"),
        ("cases = []", "cases"),
        ("= 1", "suite.toml"),
    ],
)
def test_a_suite_that_does_not_fit_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(text)

    with pytest.raises(InputError, match=message):
        read_suite(tmp_path / "suite.toml")


def test_no_test_image_is_both_searched_on_and_scored() -> None:
    samples = find_samples(EXAMPLE / "test")

    searched, scored = split_halves(samples)

    assert [sample for pair in zip(searched, scored, strict=True) for sample in pair] == samples
    assert not {sample.image for sample in searched} & {sample.image for sample in scored}
    with pytest.raises(InputError, match="two images"):
        split_halves(samples[:1])


def test_the_search_gets_images_without_masks(tmp_path: Path) -> None:
    samples = find_samples(EXAMPLE / "test")[:2]

    found = find_samples(copy_images(samples, tmp_path / "held-out"))

    assert [sample.mask for sample in found] == [None, None]
    assert [sample.image.read_bytes() for sample in found] == [sample.image.read_bytes() for sample in samples]


def test_change_is_counted_near_boundaries_only() -> None:
    """A vertical edge between columns 9 and 10: the band is columns 7 to 12, 6 of 20 columns, 3 on each side."""
    reference = np.zeros((20, 20), np.uint8)
    reference[:, 10:] = 1
    mask = reference.copy()
    mask[0, 8] = 1  # in the band
    mask[0, 0] = 1  # far from it

    assert changed_in_band_percent([mask], [reference]) == pytest.approx(100 * 1 / (6 * 20))
    assert changed_in_band_percent([mask], [np.zeros_like(mask)]) == 0.0  # no boundary


@pytest.fixture
def fake_nncf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "fake"
    (place / "nncf-0.0.1.dist-info").mkdir(parents=True)
    (place / "nncf-0.0.1.dist-info" / "METADATA").write_text(FAKE_METADATA)
    (place / "nncf.py").write_text(FAKE_NNCF)
    monkeypatch.setenv("PYTHONPATH", str(place))


@pytest.mark.usefixtures("fake_nncf")
def test_the_peer_gets_every_image_as_a_batch_of_one(tmp_path: Path) -> None:
    images = np.zeros((3, 2, 3, 3), np.uint8)
    images[:, 0, 0, 0] = [7, 8, 9]

    path, record = peer.quantize(Path(sys.executable), tmp_path / "plain.onnx", images, tmp_path)

    assert path.read_text() == f"read {tmp_path / 'plain.onnx'}, images that begin with [7, 8, 9]"
    assert record.images == 3
    assert record.versions == {"nncf": "0.0.1", "openvino": peer.wanted_versions()["openvino"]}


@pytest.mark.usefixtures("fake_nncf")
def test_a_peer_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "fake" / "nncf.py").write_text("raise ImportError('libfoo.so: not found')")

    with pytest.raises(SegdinoDeployError, match=r"^the peer cannot quantize plain.onnx: .*libfoo.so: not found$"):
        peer.quantize(Path(sys.executable), tmp_path / "plain.onnx", np.zeros((1, 2, 3, 3), np.uint8), tmp_path)


def test_the_peer_that_cannot_be_installed_is_one_line(tmp_path: Path) -> None:
    """A pip that fails stands where the environment's interpreter is looked for: nothing is downloaded."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho first >&2\necho 'ERROR: No matching distribution' >&2\nexit 1\n")
    python.chmod(0o755)

    with pytest.raises(MissingComponent, match=r"^the peer, nncf .*env: ERROR: No matching distribution$"):
        peer.prepare_peer(tmp_path / "env")


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(InputError, match="--peer-env"):
        peer.prepare_peer(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_environment_that_has_the_versions_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho '{json.dumps(peer.wanted_versions())}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(peer, "_install", lambda *_: pytest.fail("nothing is to be installed"))

    assert peer.prepare_peer(tmp_path) == python


def _contestant(name: str, ms: list[float], dice: float, agreement: float, changed: float) -> Contestant:
    eager, best_peer = [100.0, 110.0, 120.0], [50.0, 55.0, 30.0]
    entry = ClassScores(name="a", dice=dice, iou=0.5, hd95=1.0, hd95_infinite=0, images=2)
    return Contestant(
        name=name,
        inference_precision="f32",
        latency=summarise(ms, 1),
        times_faster=median_ratio(eager, ms),
        times_faster_than_peer=median_ratio(best_peer, ms),
        scores=Scores(dice=dice, iou=0.5, hd95=1.0, hd95_infinite=0, classes=[entry]),
        agreement=agreement,
        changed_in_band_percent=changed,
    )


def _result(bundle: Bundle) -> Int8Result:
    return Int8Result(
        tool_version="0.1.0",
        name="tiny-64",
        model=bundle.manifest.model,
        machine="a machine",
        threads=2,
        rounds=3,
        warmup=1,
        versions={"nncf": "3.4.0"},
        calibration_images=4,
        scored_images=2,
        plan=Plan(
            name="b in fp32",
            groups=5,
            fp32_groups={"b": "int8 saves no time here"},
            lowering=[],
            max_drop=0.1,
            changed_percent=0.05,
            held_out_images=3,
        ),
        build_seconds=61.4,
        peer_seconds=7.5,
        reference="torch-fp32",
        best_peer="nncf-int8-f32",
        ours="openvino-int8",
        contestants=[
            _contestant("torch-fp32", [100.0, 110.0, 120.0], 0.9, 1.0, 0.0),
            _contestant("nncf-int8-f32", [50.0, 55.0, 30.0], 0.8991, 0.9995, 0.25),
            _contestant("openvino-int8", [25.0, 22.0, 30.0], 0.9002, 0.99975, 0.125),
        ],
    )


def test_the_table_says_what_was_measured(bundle_copy: Callable[[], Bundle], tmp_path: Path) -> None:
    """Round by round: eager / peer is 2, 2, 4 and eager / ours 4, 5, 4; peer / ours is 2, 2.5, 1: medians 2, 4, 2.

    Dice points lost: 100 * (.9 - .8991) = .09 and 100 * (.9 - .9002) = -.02.
    """
    results = tmp_path / "results"
    results.mkdir()
    (results / "tiny-64.json").write_text(_result(bundle_copy()).model_dump_json())

    page = render_directory(results)

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    assert rows[0] == list(COLUMNS)
    assert rows[2:] == [
        ["torch-fp32 (in f32)", "110.0", "1.00", "0.50", "0.9000", "+0.000", "1.00000", "0.000"],
        ["nncf-int8-f32 (in f32)", "50.0", "2.00", "1.00", "0.8991", "+0.090", "0.99950", "0.250"],
        ["openvino-int8 (in f32)", "25.0", "4.00", "2.00", "0.9002", "-0.020", "0.99975", "0.125"],
    ]
    assert "1 of 5 groups stay in fp32 (b)" in page
    assert "changes 0.0500% of the pixels of the search's own 3 images, 0.1% are allowed" in page
    assert "search and build took 61 s, the peer's quantization 8 s" in page
    assert "Versions: nncf 3.4.0, segdino-deploy 0.1.0." in page


def test_no_results_make_no_section(tmp_path: Path) -> None:
    assert render_directory(tmp_path / "none") == ""


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_ratios_follow_from_the_stored_samples(path: Path) -> None:
    result = Int8Result.model_validate_json(path.read_bytes())
    suite = read_suite(BENCHMARKS / "int8.toml")

    assert result.name in {case.name for case in suite.cases}
    eager, best = (result.contestant(name).latency.samples_ms for name in (result.reference, result.best_peer))
    for row in result.contestants:
        assert len(row.latency.samples_ms) == result.rounds
        assert row.times_faster == pytest.approx(median_ratio(eager, row.latency.samples_ms), rel=1e-3)
        assert row.times_faster_than_peer == pytest.approx(median_ratio(best, row.latency.samples_ms), rel=1e-3)
