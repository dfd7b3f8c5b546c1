"""Decoding, the engine and encoding at the same time: a thread for each, and only so many frames between them.

Threads, not processes: OpenCV, Pillow and the engines release Python's lock while they work.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Runner, run_padded
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.images import mask_to_png_values, resize_mask
from segdino_deploy.progress import OnCount
from segdino_deploy.video.channel import Channel
from segdino_deploy.video.frames import tint, to_input, to_size
from segdino_deploy.video.publish import publish_together
from segdino_deploy.video.report import Samples
from segdino_deploy.video.sink import Sink, find_shortage
from segdino_deploy.video.stream import Frame, Stream
from segdino_deploy.video.targets import VideoTarget

UInt8 = NDArray[np.uint8]
STAGES = ("decode", "resize", "engine", "paint", "encode")
RELEASE_SECONDS = 2.0  # that the decoder of a stream which has stopped sending gets to notice the end


@dataclass(frozen=True)
class _Prepared:
    frame: Frame
    sized: UInt8  # [h, w, 3] RGB


@dataclass(frozen=True)
class _Segmented:
    frame: Frame
    masks: dict[str, UInt8]  # [h, w] of the model's size, by head


class Pipeline:
    """`run` returns when the source has no more, or the run was ended: by Ctrl-C, `stop`, a full disk, a failure.

    Then what was written is complete and has its names; `problem` says why it is not all. Where no frame was written
    nothing has. Raises what the encoder raised, and of the others what is no SegdinoDeployError: then nothing is kept.
    """

    def __init__(
        self,
        runner: Runner,
        stream: Stream,
        outputs: Sequence[tuple[VideoTarget, Sink]],
        batch_size: int,
        max_frames: int | None,
        on_progress: OnCount,
        stop: threading.Event,
    ) -> None:
        self._runner, self._stream, self._outputs = runner, stream, outputs
        self._batch_size, self._max_frames, self._on_progress, self._stop = batch_size, max_frames, on_progress, stop
        limit = (
            1 if stream.is_live else max(2, batch_size)
        )  # frames that wait: those of large videos are many megabytes
        self._decoded: Channel[Frame | _Prepared] = Channel(limit, newest_wins=stream.is_live)
        self._segmented: Channel[_Segmented] = Channel(limit)
        self._decoder = threading.Thread(target=self._decode, name="segdino-decode", daemon=True)
        self._encoder = threading.Thread(target=self._encode, name="segdino-encode", daemon=True)
        self._encoder_ended = threading.Event()
        self._encoding: BaseException | None = None
        self._decoding: BaseException | None = None
        self._is_given_up = False
        self.stages = {stage: Samples() for stage in STAGES}
        self.latency = Samples()
        self.frames_segmented = self.frames_written = self.frames_repeated = self.frames_resized = 0
        self.interrupted = False  # by Ctrl-C or `stop`
        self.has_ctrl_c = False
        self.problem = ""
        self.last_written_at = 0.0

    @property
    def frames_dropped(self) -> int:
        return self._decoded.dropped

    def run(self) -> None:
        self._start()
        try:
            self._drive()
        except KeyboardInterrupt:
            self.interrupted = self.has_ctrl_c = True
        except SegdinoDeployError as error:
            self.problem = str(error)
        except BaseException:
            self._is_given_up = True
            raise
        finally:
            self._await_encoder()
        self._await_decoder()
        for failure in (self._encoding, self._decoding):
            if failure is not None:
                raise failure
        self.problem = self.problem or self._stream.problem

    def _start(self) -> None:
        try:
            self._decoder.start()
            self._encoder.start()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._decoded.close()
        self._segmented.close()

    def _await_encoder(self) -> None:
        """Ctrl-C again does not take away what is being completed; there is little left to do.

        By an event: a thread whose `join` is interrupted counts as ended, up to Python 3.12.
        """
        while True:
            try:
                self._close()
                self._encoder_ended.wait()
                return
            except KeyboardInterrupt:
                self.interrupted = self.has_ctrl_c = True

    def _await_decoder(self) -> None:
        """One that waits for a silent stream is left to itself: it is not safe to release a capture under it."""
        try:
            self._decoder.join(RELEASE_SECONDS if self._stream.is_live else None)
        except KeyboardInterrupt:  # the video is complete: what is left is the report
            self.interrupted = self.has_ctrl_c = True

    def _decode(self) -> None:
        """In the decoder's thread. Of a live source only frames that are taken are resized, when they are taken."""
        try:
            for frame in self._stream.frames():
                if not self._decoded.put(frame if self._stream.is_live else self._prepare(frame)):
                    break
        except Exception as error:
            self._decoding, self._is_given_up = error, True
        finally:
            self._decoded.close()
            self._stream.release()

    def _prepare(self, frame: Frame) -> _Prepared:
        start = perf_counter()
        sized = to_input(frame.bgr, self._runner.card)
        self.stages["resize"].add(_milliseconds_since(start))
        return _Prepared(frame, sized)

    def _drive(self) -> None:
        """In the caller's thread, where Ctrl-C arrives."""
        while not self._stop.is_set():
            left = None if self._max_frames is None else self._max_frames - self.frames_segmented
            batch = self._take(self._batch_size if left is None else min(left, self._batch_size))
            if not batch:
                break
            start = perf_counter()
            outputs = run_padded(self._runner, np.stack([item.sized for item in batch]))  # [N, h, w, 3]
            masks = masks_from_outputs(outputs, self._runner.card.thresholds)
            self.stages["engine"].add(_milliseconds_since(start) / len(batch), len(batch))
            for row, item in enumerate(batch):
                of_frame = {head: of_batch[row] for head, of_batch in masks.items()}
                if not self._segmented.put(_Segmented(item.frame, of_frame)):
                    return
                self.frames_segmented += 1
            self._on_progress(self.frames_segmented, max(self._stream.expected, 0))
        self.interrupted = self._stop.is_set()  # which also ends the waiting for a frame

    def _take(self, size: int) -> list[_Prepared]:
        batch: list[_Prepared] = []
        while len(batch) < size and (item := self._decoded.get(self._stop)) is not None:
            if isinstance(item, Frame):
                self.stages["decode"].add(item.read_ms)
                batch.append(self._prepare(item))
            else:
                self.stages["decode"].add(item.frame.read_ms)
                batch.append(item)
        return batch

    def _encode(self) -> None:
        """In the encoder's thread."""
        try:
            self._write_all()
            self._close()
            if self.frames_written and not self._is_given_up:
                for _, sink in self._outputs:
                    sink.finish()
                publish_together([sink for _, sink in self._outputs], may_replace=not self._stream.is_live)
        except BaseException as error:
            self._encoding = error
        finally:
            self._close()
            self._encoder_ended.set()

    def _write_all(self) -> None:
        first_slot: int | None = None
        painted: list[UInt8] = []
        while (item := self._segmented.get()) is not None:
            if first_slot is None:
                first_slot = item.frame.slot
            # Dropped frames leave room: the last result stands there, as long as no newer one has to wait for it.
            while self.frames_written < item.frame.slot - first_slot and self._segmented.is_empty:
                self._write(painted)
                self.frames_repeated += 1
                if self._is_disk_full(painted):
                    return
            painted = self._paint(item)
            self.stages["encode"].add(self._write(painted))
            self.latency.add(_milliseconds_since(item.frame.read_at))
            if self._is_disk_full(painted):
                return

    def _paint(self, item: _Segmented) -> list[UInt8]:
        """What goes to each output: BGR `[H, W, 3]` or values `[H, W]`, of the first frame's size."""
        start = perf_counter()
        size_hw = self._stream.size_hw
        bgr = item.frame.bgr
        if bgr.shape[:2] != size_hw:
            self.frames_resized += 1
            bgr = to_size(bgr, size_hw)
        masks = {head: resize_mask(mask, size_hw) for head, mask in item.masks.items()}
        painted = [
            tint(bgr, masks[target.head])
            if target.kind == "overlay"
            else mask_to_png_values(masks[target.head], target.num_classes)
            for target, _ in self._outputs
        ]
        self.stages["paint"].add(_milliseconds_since(start))
        return painted

    def _write(self, painted: Sequence[UInt8]) -> float:
        """Milliseconds that it took."""
        start = perf_counter()
        for (_, sink), frame in zip(self._outputs, painted, strict=True):
            sink.write(frame)
        self.frames_written += 1
        self.last_written_at = perf_counter()
        return _milliseconds_since(start)

    def _is_disk_full(self, painted: Sequence[UInt8]) -> bool:
        folder = self._outputs[0][1].path.parent
        frame_bytes = sum(frame.nbytes for frame in painted)
        shortage = find_shortage(folder, frame_bytes, self.frames_written, len(painted))
        if shortage:
            self.problem = self.problem or shortage
        return bool(shortage)


def _milliseconds_since(start: float) -> float:
    return (perf_counter() - start) * 1e3
