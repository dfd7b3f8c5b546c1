"""An actor, without a cluster around it."""

from __future__ import annotations

import errno
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segdino_deploy.cluster import actor
from segdino_deploy.cluster.actor import ActorOptions, Segmenter
from segdino_deploy.cluster.engine import choose_engine
from segdino_deploy.engines.run import open_engine
from segdino_deploy.errors import SegdinoDeployError
from tests.cluster.bundles import ENGINE, make_bundle

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 16, 32, 3), dtype=np.uint8)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    """On a node that does not have the bundle, and an empty folder for temporary files."""
    bundle = make_bundle(tmp_path / "colours.segdino")
    chosen = choose_engine(bundle, None, None)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda reference: reference))
    options = ActorOptions(
        bundle=str(tmp_path / "not here"),
        manifest_sha256="0" * 64,
        engine=ENGINE,
        backend="onnxruntime",
        precision="fp32",
        threads=1,
        output=str(tmp_path / "out"),
        batch_size=2,
        overlay=True,
    )
    return Segmenter(options, [chosen.read_files()], None)


def test_a_node_without_the_bundle_keeps_nothing_of_it_once_its_engine_is_open(
    elsewhere: Segmenter, tmp_path: Path
) -> None:
    with open_engine(tmp_path / "colours.segdino") as runner:
        expected = runner.run({"image": IMAGE})["mask"]

    with elsewhere._open() as runner:
        assert not list((tmp_path / "temporary").iterdir())
        np.testing.assert_array_equal(runner.run({"image": IMAGE})["mask"], expected)


def test_a_node_whose_disk_is_full_says_so(
    elsewhere: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(SegdinoDeployError, match=r"no space left to write .*segdino-bundle-"):
        elsewhere._open()
    assert not list((tmp_path / "temporary").iterdir())


def test_an_engine_that_cannot_be_opened_leaves_nothing(
    elsewhere: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SegdinoDeployError("cannot be opened")

    monkeypatch.setattr(actor, "open_engine", refuse)

    with pytest.raises(SegdinoDeployError, match="cannot be opened"):
        elsewhere._open()
    assert not list((tmp_path / "temporary").iterdir())
