"""The graph suite: its file, its stored results and their table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segdino_deploy import load_segdino
from segdino_deploy.benchmarks.graph.measure import GraphResult
from segdino_deploy.benchmarks.graph.models import random_segdino, save_checkpoint
from segdino_deploy.benchmarks.graph.report import render_directory
from segdino_deploy.benchmarks.graph.suite import read_suite
from segdino_deploy.errors import InputError
from segdino_deploy.model.dinov3 import ViTConfig
from segdino_deploy.model.heads import HEADS
from segdino_deploy.timing import median_ratio

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
TINY = ViTConfig(embed_dim=32, depth=12, num_heads=2, ffn="mlp", ffn_hidden_dim=64)


def test_the_stored_page_is_what_the_stored_results_give() -> None:
    assert (BENCHMARKS / "GRAPH.md").read_text() == render_directory(BENCHMARKS / "results" / "graph")


def test_the_suite_has_a_result_for_every_case() -> None:
    suite = read_suite(BENCHMARKS / "graph.toml")

    for family in suite.families:
        for size in suite.sizes:
            path = BENCHMARKS / "results" / "graph" / f"{family}-{size}.json"
            result = GraphResult.model_validate_json(path.read_bytes())
            assert (result.family, result.size) == (family, size)
            assert [engine.name for engine in result.engines] == [spec.name for spec in suite.engines]
            for engine in result.engines:
                ratio = median_ratio(engine.plain.samples_ms, engine.folded.samples_ms)
                assert engine.times_faster == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize("family", list(HEADS))
def test_random_checkpoints_load_strictly(family: str, tmp_path: Path) -> None:
    model = random_segdino(family, TINY)

    loaded = load_segdino(save_checkpoint(model, tmp_path / "m.pth"))

    image = torch.randn(1, 3, 32, 48)
    assert loaded.family == family
    assert torch.equal(loaded(image), model(image))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("families = 3", "families"),
        ("families = []\nsizes = []\nengines = []\nspeed = 1", "speed"),
        ("= 1", "suite.toml"),
    ],
)
def test_a_suite_that_does_not_fit_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(text)

    with pytest.raises(InputError, match=message):
        read_suite(tmp_path / "suite.toml")
