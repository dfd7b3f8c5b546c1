"""Opening a bundle in C++ while it is being written, and after a writer was killed."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.bundle import MANIFEST
from tests.cpp.bundle_cases import refusal
from tests.cpp.bundle_probes import BundleProbes, Refused


def commit_by_hand(bundle: Bundle) -> Path:
    """As a writer that was killed right after its change had become the bundle's."""
    commit = bundle.path / ".commit"
    commit.mkdir()
    shutil.copy(bundle.path / MANIFEST, commit / MANIFEST)
    return commit


def test_a_change_that_was_cut_off_is_left_to_python(crowded: Bundle, probes: BundleProbes) -> None:
    commit_by_hand(crowded)

    refused = refusal(lambda: probes.read_bundle(crowded.path))

    command = f"segdino-deploy inspect {crowded.path}"
    assert str(refused) == f"{crowded.path}: a change to it is not complete; finish it with: {command}"
    Bundle.open(crowded.path)  # as that command does
    probes.check_files(crowded.path)


def test_a_change_that_is_going_on_is_waited_for(crowded: Bundle, probes: BundleProbes) -> None:
    commit = commit_by_hand(crowded)

    def finish() -> None:
        time.sleep(0.3)
        (commit / MANIFEST).replace(crowded.path / MANIFEST)

    writer = threading.Thread(target=finish)
    writer.start()
    found = probes.read_bundle(crowded.path)
    writer.join()

    assert len(found["files"]) == len(crowded.manifest.files)


def test_a_change_between_reading_and_comparing_is_no_damage(crowded: Bundle, probes: BundleProbes) -> None:
    old = (crowded.path / MANIFEST).read_bytes()
    crowded.update({"canary.npz": b"another"}, lambda manifest: manifest)

    with pytest.raises(Refused, match="was written while it was being opened; open it again") as refused:
        probes.check_files_of(crowded.path, old)

    assert refused.value.kind == "BundleChanged"
    probes.check_files(crowded.path)
