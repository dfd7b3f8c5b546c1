"""A mask whose rows are written while they come: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, Full, Queue
from types import TracebackType
from typing import BinaryIO

from segdino_deploy.atomic import disk_errors, temporary_of
from segdino_deploy.tiles.formats import tiff_to_png, write_tiff
from segdino_deploy.tiles.options import MaskFormat
from segdino_deploy.tiles.rows import UInt8


class MaskFile:
    """Rows are appended from top to bottom and compressed in a thread of their own; TIFF first, PNG from that.

    A context manager: what is not published when it ends is removed. Raises InputError without permission to write,
    SegdinoDeployError where no space is left.
    """

    def __init__(self, path: Path, size_hw: tuple[int, int], mask_format: MaskFormat) -> None:
        self.path = path
        self._temporary = temporary_of(path)
        self._rows: Queue[UInt8 | None] = Queue(maxsize=2)  # None: no more
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._tiff: BinaryIO = self._temporary.open("w+b")
            self._file = self._tiff
            if mask_format == "png":  # the TIFF that it is made from needs no name: nothing of it can stay behind
                self._temporary.unlink()
                self._file = self._temporary.open("w+b")
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mask")
        self._written = self._worker.submit(write_tiff, self._tiff, self._arriving(), size_hw)

    def append(self, rows: UInt8) -> None:
        """The next rows, uint8 `[n, W]`, with the values that the file is to hold."""
        self._put(rows)

    def finish(self) -> None:
        """Completes the file under its temporary name, and forces it to disk."""
        self._put(None)
        with disk_errors(self.path):
            self._written.result()
            if self._tiff is not self._file:
                tiff_to_png(self._tiff, self._file)
            self._file.flush()
            os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Gives the finished file its name."""
        with disk_errors(self.path):
            self._temporary.replace(self.path)

    def __enter__(self) -> MaskFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while True:  # given up: what waits is dropped, so that the end of it can be told
            try:
                self._rows.get_nowait()
            except Empty:
                break
        self._rows.put(None)
        self._worker.shutdown()
        for file in {self._file, self._tiff}:
            with suppress(OSError):  # of a full disk: that has been said
                file.close()
        self._temporary.unlink(missing_ok=True)

    def _put(self, rows: UInt8 | None) -> None:
        """Waits for the writer where it is behind, but not for one that has failed."""
        while True:
            if self._written.done():
                with disk_errors(self.path):
                    return self._written.result()
            try:
                self._rows.put(rows, timeout=0.1)
                return
            except Full:
                continue

    def _arriving(self) -> Iterator[UInt8]:
        while (rows := self._rows.get()) is not None:
            yield rows
