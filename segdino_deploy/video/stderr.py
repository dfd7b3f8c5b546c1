"""What OpenCV prints to stderr itself, whatever its log level."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

STDERR = 2  # the descriptor, which C code writes to
PREFIX = b"OpenCV: FFMPEG: "
_lock = threading.Lock()  # else one thread would keep another's redirection for the real stderr


@contextmanager
def without_opencv_lines() -> Iterator[None]:
    """Holds stderr back, and lets through at the end what is not OpenCV's. For short calls: the whole process waits.

    Where nothing can be held back (no stderr, no temporary files) everything goes through.
    """
    with _lock, ExitStack() as closing:
        try:
            held = closing.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(STDERR)
        except OSError:
            yield
            return
        closing.callback(os.close, stderr)
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(stderr, STDERR)
            held.seek(0)
            rest = b"".join(line for line in held if not line.startswith(PREFIX))
            with suppress(OSError):  # whoever read it has gone
                os.write(STDERR, rest)
