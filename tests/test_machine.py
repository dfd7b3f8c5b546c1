"""What others do on the machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from segdino_deploy.machine import OtherWork

needs_proc = pytest.mark.skipif(
    not Path("/proc/stat").is_file(), reason="the system does not tell how busy its processors are"
)


@needs_proc
def test_the_work_of_another_process_is_seen_and_ones_own_is_not() -> None:
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        work, began = OtherWork(), time.monotonic()
        while time.monotonic() - began < 1.5:
            pass  # work of this process
        seen = work.processors()
    finally:
        other.kill()
        other.wait()

    assert seen is not None
    assert seen > 0.2  # it has a processor, or shares this one


@needs_proc
def test_the_work_of_a_process_that_works_for_this_one_is_not_that_of_others() -> None:
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with_it, without_it = OtherWork(), OtherWork([other.pid])
        time.sleep(1.5)
        seen, rest = with_it.processors(), without_it.processors()
    finally:
        other.kill()
        other.wait()

    assert seen is not None and rest is not None
    assert seen - rest > 0.1  # what it did, whatever else runs here


def test_a_process_that_is_gone_has_done_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    seen = OtherWork([gone.pid]).processors()

    assert seen is None or seen >= 0
