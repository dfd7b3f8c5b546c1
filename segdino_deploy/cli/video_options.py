"""The options of `predict` for video, and what it prints of one."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segdino_deploy.cli.console import Progress, print_json, print_line
from segdino_deploy.errors import CheckFailed, InputError, SegdinoDeployError

if TYPE_CHECKING:
    from segdino_deploy.engines.run import Runner
    from segdino_deploy.video import VideoOptions, VideoReport, VideoSource

MaskVideoOption = Annotated[
    str | None,
    typer.Option(metavar="ffv1|png", help="Of a video: masks frame by frame, exact; FFV1 in .mkv, or a folder of PNG."),
]
OverlayCodecOption = Annotated[
    str | None,
    typer.Option(
        metavar="CODEC", help="Of a video: mp4v (.mp4), vp9 (.webm), mjpeg (.avi), ffv1 (.mkv). Default: mp4v."
    ),
]
MaxFramesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Of a video: end when N frames are segmented; those that --every skips do not count."
    ),
]
EveryOption = Annotated[int | None, typer.Option(metavar="N", help="Of a video: segment one frame of N. Default: 1.")]
FpsOption = Annotated[
    float | None, typer.Option(metavar="F", help="Frames per second, of a source that names none or a wrong number.")
]


def split_inputs(inputs: Sequence[str]) -> tuple[list[VideoSource], list[Path]]:
    """Videos, cameras and streams; and what is left: images and folders. InputError where there are both."""
    from segdino_deploy.video import parse_source

    parsed = [(text, parse_source(text)) for text in inputs]
    sources = [source for _, source in parsed if source is not None]
    images = [Path(text) for text, source in parsed if source is None]
    if sources and images:
        raise InputError(f"{images[0]}: no video, while {sources[0].name} is one; run images and videos apart")
    return sources, images


def video_options(
    overlay: bool,
    overlay_codec: str | None,
    mask_video: str | None,
    max_frames: int | None,
    every: int | None,
    fps: float | None,
    batch_size: int | None,
) -> VideoOptions:
    """InputError for what cannot be."""
    from segdino_deploy.video import VideoOptions
    from segdino_deploy.video.options import parse_mask_video, parse_overlay_codec

    return VideoOptions(
        overlay=overlay,
        overlay_codec="mp4v" if overlay_codec is None else parse_overlay_codec(overlay_codec),
        mask_video=None if mask_video is None else parse_mask_video(mask_video),
        max_frames=max_frames,
        every=1 if every is None else every,
        fps=fps,
        batch_size=batch_size,
    )


def refuse_video_options(**given: object) -> None:
    """InputError where an option of videos was given for images; names as Python writes them (`mask_video`)."""
    if named := _given(given):
        raise InputError(f"{named}: of videos, but the inputs are images")


def refuse_image_options(**given: object) -> None:
    """InputError where an option of images was given for videos."""
    if named := _given(given):
        raise InputError(f"{named}: of images, but the inputs are videos")


def _given(options: Mapping[str, object]) -> str:
    """The options that are neither None nor a flag left out, as users write them."""
    return " and ".join(
        f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None and value is not False
    )


def predict_videos(
    runner: Runner, sources: Sequence[VideoSource], output: Path, options: VideoOptions, as_json: bool
) -> None:
    """One after the other. A video that fails does not stop the others; CheckFailed at the end counts them.

    Ctrl-C, and the signal that service managers send, end the run with a video that plays; then KeyboardInterrupt. What
    is wrong with a video is told at once, for the end may be a Ctrl-C that tells something else.
    """
    from segdino_deploy.video import segment_video
    from segdino_deploy.video.targets import check_apart

    check_apart(sources, output, runner.card, options)
    engine = f"{runner.backend} {runner.precision} on {runner.device}"
    reports: list[VideoReport] = []
    problems: list[str] = []
    told: set[str] = set()
    is_ended = False
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for source in sources:
            with Progress() as progress:
                try:
                    report = segment_video(runner, source, output, options, FrameProgress(progress, source.name))
                except SegdinoDeployError as error:
                    if len(sources) == 1:
                        raise
                    problems.append(str(error))
                    progress.note(f"failed: {error}")
                    continue
                except KeyboardInterrupt:  # before a frame of this one was through
                    is_ended = True
                    break
                for note in report.notes:
                    if note not in told:
                        progress.note(f"{source.name}: {note}")
                        told.add(note)
                if report.problem:
                    problems.append(f"{report.source}: {report.problem}")
                    if len(sources) > 1 or report.interrupted:  # else it is the error at the end
                        progress.note(f"incomplete: {problems[-1]}")
            reports.append(report)
            if not as_json:
                print_line(summary_line(report, engine))
            if is_ended := report.interrupted:
                break
    finally:
        signal.signal(signal.SIGTERM, before)
    if as_json:
        heads = {head.name: head.class_names for head in runner.card.heads}
        videos = [report.model_dump(mode="json") for report in reports]
        print_json({"engine": engine, "class_names": heads, "videos": videos, "failures": problems})
    if is_ended:
        raise KeyboardInterrupt
    if problems:
        count = f" ({len(problems)} of {len(sources)} videos failed or are incomplete)" if len(sources) > 1 else ""
        raise CheckFailed(f"{problems[0]}{count}")


def summary_line(report: VideoReport, engine: str) -> str:
    """One line for people."""
    latency = report.latency_ms
    counts = [f"{report.frames_segmented} of {report.frames_read} frames segmented by {engine}"]
    if report.frames_skipped:
        counts.append(f"{report.frames_skipped} skipped")
    if report.is_live:
        counts.append(f"{report.frames_dropped} dropped, {report.frames_repeated} repeated in their place")
    if report.frames_abandoned:
        counts.append(f"{report.frames_abandoned} given up at the end")
    rates = (
        f"{report.fps:.1f} frames/s; latency p50 {latency.p50_ms:.1f} ms, p90 {latency.p90_ms:.1f} ms, "
        f"p99 {latency.p99_ms:.1f} ms"
    )
    return f"{report.source}: {', '.join(counts)}, {rates}: {', '.join(output.path for output in report.outputs)}"


class FrameProgress:
    """Frames of a known number with the time left; of an endless source their count, now and then."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name
        self._told_at = 0.0
        self._seconds = 0.5 if sys.stderr.isatty() else Progress.QUIET_SECONDS

    def __call__(self, done: int, total: int) -> None:
        if total:
            self._progress.count(self._name, done, max(done, total))
        elif time.monotonic() - self._told_at > self._seconds:
            self._told_at = time.monotonic()
            self._progress.step(f"{self._name}: {done} frames; Ctrl-C ends it")
