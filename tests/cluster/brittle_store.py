"""A file system that fsspec finds as a plugin, kept in a folder; it kills the process that writes a certain file.

In the middle of it, once or always: what a worker that dies leaves behind. `brittle:///folder/name`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

FATAL = "00005.png"
ALWAYS_FATAL = "deadly"


class BrittleFileSystem(LocalFileSystem):
    protocol = "brittle"

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(path).removeprefix("brittle://").rstrip("/") or "/"

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        target = Path(self._strip_protocol(path))
        killed = Path(os.environ["BRITTLE_STORE_KILLED"])
        if ALWAYS_FATAL in target.name or (FATAL in target.name and not killed.exists()):
            killed.touch()
            target.write_bytes(value[: len(value) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        target.write_bytes(value)
