"""What others do on the machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from segdino_deploy.machine import OtherWork


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="the system does not tell how busy its processors are")
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
