"""Images come and go: what scoring keeps of each are numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.benchmarks.data.samples import Sample
from segdino_deploy.benchmarks.journal import Journal
from segdino_deploy.benchmarks.scoring import score_samples
from segdino_deploy.engines.run import Runner
from segdino_deploy.evidence import Outputs
from segdino_deploy.manifest import ModelCard
from segdino_deploy.progress import ignore
from tests.benchmarks.report.example import make_example

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from segdino_deploy.benchmarks.data.samples import Sample
from segdino_deploy.benchmarks.journal import Journal
from segdino_deploy.benchmarks.process import own_peak_mib
from segdino_deploy.benchmarks.scoring import score_samples
from segdino_deploy.engines.run import Runner
from segdino_deploy.progress import ignore
from tests.benchmarks.report.example import make_example

class Constant(Runner):
    def _run(self, image_nhwc):
        return {"mask": (image_nhwc[..., 0] > 100).astype(np.uint8)}

card = make_example().result.model
directory, count = Path(sys.argv[1]), int(sys.argv[2])
samples = [Sample(directory / "image.png", directory / "mask.png")] * count
identities, digests = {"reference": "a", "engine": "b"}, [str(index) for index in range(count)]
with Journal(directory / f"{count}.jsonl", "key", identities, digests) as journal:
    runners = {"reference": Constant(card), "engine": Constant(card)}
    score_samples(runners, samples, card.heads[0], "bicubic", None, journal, ignore)
    assert len(journal.per_image("engine")["dice"]) == count
print(own_peak_mib())
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system tells no peak of a process")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    image = np.zeros((1600, 1600, 3), np.uint8)  # 7.3 MiB, decoded
    image[:800] = 200
    Image.fromarray(image).save(tmp_path / "image.png", compress_level=1)
    Image.fromarray((image[..., 0] > 100).astype(np.uint8)).save(tmp_path / "mask.png")

    def peak_mib(count: int) -> float:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(count)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent.parent
        )
        return float(done.stdout)

    assert peak_mib(44) - peak_mib(4) < 20  # 40 images that were kept would be 290 MiB


class Undecided(Runner):
    """Everything background, at a probability of a quarter."""

    def __init__(self, *outputs: str) -> None:
        super().__init__(make_one_class_card())
        self.outputs = outputs

    def _run(self, image_nhwc: np.ndarray) -> Outputs:
        count, height, width, _ = image_nhwc.shape
        plane = np.ones((count, 1, height, width), np.float32)
        known = {
            "mask": np.zeros((count, height, width), np.uint8),
            "probability": 0.25 * plane,
            "logits": -np.log(3) * plane,  # whose sigmoid is a quarter
        }
        return {name: known[name] for name in self.outputs}


def make_one_class_card() -> ModelCard:
    card = make_example().result.model
    head = card.heads[0].model_copy(update={"num_classes": 1, "class_names": ["polyp"]})
    return card.model_copy(update={"heads": [head]})


def test_mae_is_of_the_probability_whichever_output_tells_it(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(np.pad(np.full((10, 20), 255, np.uint8), ((0, 10), (0, 0)))).save(tmp_path / "mask.png")
    samples = [Sample(tmp_path / "image.png", tmp_path / "mask.png")]
    runners = {name: Undecided("mask", *name.split()) for name in ("probability", "logits", "")}

    with Journal(tmp_path / "journal.jsonl", "key", dict.fromkeys(runners, "a"), ["digest"]) as journal:
        score_samples(runners, samples, make_one_class_card().heads[0], "bilinear", None, journal, ignore)
        found = {name: journal.per_image(name) for name in runners}

    assert found["probability"]["mae"] == pytest.approx([0.5])  # half of the pixels 0.75 off, half 0.25
    assert found["logits"]["mae"] == pytest.approx([0.5])
    assert "mae" not in found[""]
    assert found[""]["accuracy"] == pytest.approx([0.5])
