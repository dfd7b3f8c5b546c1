"""A minute of libFuzzer, with AddressSanitizer and UndefinedBehaviorSanitizer: files and views from anywhere."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.bundle import MANIFEST
from segdino_deploy.canary import Canary
from tests.cpp.building import NativeBuild

SECONDS = 20
LONGEST_INPUT = {"fuzz_manifest": 8192, "fuzz_npz": 4096, "fuzz_view": 128}  # bytes
RECEIPT = {"options": {"workspace_mib": 512, "version_compatible": True, "compute_capabilities": ["8.6", "8.9"]}}


@pytest.fixture(scope="module")
def corpus(exported: Callable[[str], Path], joint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each target starts from, in a folder of its name."""
    directory = tmp_path_factory.mktemp("corpus")
    seeds: dict[str, list[bytes]] = {"fuzz_view": []}
    seeds["fuzz_manifest"] = [with_engine(path / MANIFEST) for path in (exported("v1_convt"), joint)]
    seeds["fuzz_npz"] = [small_canary(), *single_arrays()]
    for target, contents in seeds.items():
        (directory / target).mkdir()
        for number, content in enumerate(contents):
            assert len(content) <= LONGEST_INPUT[target]
            (directory / target / str(number)).write_bytes(content)
    return directory


def with_engine(path: Path) -> bytes:
    """A manifest with an engine, without what the C++ library does not read: it would only cost time."""
    content = json.loads(path.read_text())
    del content["folding"]
    for model in content["onnx"].values():
        del model["parity"], model["weight_products"]
    engine = {"file": "e.plan", "companions": ["e.bin"], "backend": "tensorrt", "precision": "fp16"}
    engine |= {"source": "model.onnx", "built_with": {"tensorrt": "10.3"}, "receipt": RECEIPT}
    content["engines"] = {"e": engine}
    content["files"] |= dict.fromkeys(("e.plan", "e.bin"), content["files"]["model.onnx"])
    return json.dumps(content).encode()


def small_canary() -> bytes:
    logits, mask = np.zeros((1, 2, 16, 16), np.float32), np.zeros((1, 16, 16), np.uint8)
    return Canary(np.zeros((1, 16, 16, 3), np.uint8), {"polyp": logits}, {"polyp": mask}).to_bytes()


def single_arrays() -> list[bytes]:
    """Both versions of the header; uncompressed archives, too."""
    buffers = [io.BytesIO() for _ in range(3)]
    np.lib.format.write_array(buffers[0], np.zeros((2, 3), np.float32), version=(1, 0))
    np.lib.format.write_array(buffers[1], np.zeros(5, np.uint8), version=(2, 0))
    np.savez(buffers[2], image=np.zeros((1, 2, 2, 3), np.uint8))
    return [buffer.getvalue() for buffer in buffers]


@pytest.mark.slow
@pytest.mark.parametrize("target", LONGEST_INPUT)
def test_nothing_that_comes_from_outside_breaks_it(
    target: str, corpus: Path, fuzz_build: NativeBuild, tmp_path: Path
) -> None:
    options = [f"-max_total_time={SECONDS}", f"-max_len={LONGEST_INPUT[target]}", "-timeout=10", "-rss_limit_mb=2048"]
    command = [fuzz_build.bin(target), *options, f"-artifact_prefix={tmp_path}/", corpus / target]

    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | fuzz_build.environment
    )

    output = done.stdout.decode(errors="replace")
    inputs = [file.read_bytes() for file in tmp_path.iterdir()]
    assert done.returncode == 0, f"{output[-6000:]}\nfailing inputs: {inputs}"
    runs = re.search(r"^Done (\d+) runs", output, re.MULTILINE)
    assert runs is not None, output[-2000:]
    assert int(runs[1]) > 100
