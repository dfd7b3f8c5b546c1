"""From a source of frames to videos of masks and overlays."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.progress import OnCount, ignore
from segdino_deploy.video.options import VideoOptions
from segdino_deploy.video.pipeline import Pipeline
from segdino_deploy.video.report import Output, VideoReport
from segdino_deploy.video.sink import Sink
from segdino_deploy.video.source import VideoSource, parse_source
from segdino_deploy.video.stream import Stream
from segdino_deploy.video.targets import VideoTarget, plan_targets, require_no_earlier


def segment_video(
    runner: Runner,
    source: VideoSource | str | Path,
    target: Path,
    options: VideoOptions = VideoOptions(),
    on_progress: OnCount = ignore,
    *,
    stop: threading.Event | None = None,
) -> VideoReport:
    """Writes `<stem>.overlay.mp4` and what else `options` ask for (see `targets.plan_targets`) into `target`, a folder.

    Frames of files are never dropped, and go to the engine in batches; of live sources the newest is segmented as soon
    as the engine is free, and what came in between is dropped and counted. Ctrl-C and `stop` end the run as the end of
    the source does: what is through is written, and the report says `interrupted`; `stop` is not looked at while the
    source is opened. `on_progress` is called with segmented and expected frames (0: not known), in the caller's thread.

    Results take their names when they are complete. A recording of a live source is never replaced, nor is a folder:
    where such a name was taken meanwhile the results get a number, which `outputs` and `notes` of the report say.
    A kill leaves temporary files only; a later run of the same names removes them.

    A report with a `problem` is of a result that can be played but is not of the whole source: a damaged video, an
    engine that failed on the way, a disk that ran full. Raises InputError (a source without a single frame, a place
    that cannot be written), MissingComponent (no such codec), SegdinoDeployError (what was written cannot be read; the
    run was stopped before a frame was through), and KeyboardInterrupt where Ctrl-C came before a frame was through.
    """
    video = source if isinstance(source, VideoSource) else parse_source(source)
    if video is None:
        raise InputError(f"{source}: not a video, a sequence of images, a camera or a stream")
    targets = plan_targets(video, target, runner.card, options)
    if video.is_live is not None:
        options.batch_for(runner.card, video.is_live)  # refused before anything is opened
    stream = Stream(video, options)
    written_fps = stream.fps / options.every
    with ExitStack() as discarding:
        try:
            batch_size = options.batch_for(runner.card, stream.is_live)
            if stream.is_live:
                require_no_earlier(targets)
            outputs = [_open(planned, stream, written_fps, discarding) for planned in targets]
        except BaseException:
            stream.release()
            raise
        pipeline = Pipeline(
            runner, stream, outputs, batch_size, options.max_frames, on_progress, stop or threading.Event()
        )
        pipeline.run()  # its decoder releases the stream
        if not pipeline.frames_written:
            raise _nothing_written(video, pipeline)
    return _report(stream, pipeline, outputs, written_fps)


def _open(target: VideoTarget, stream: Stream, fps: float, discarding: ExitStack) -> tuple[VideoTarget, Sink]:
    sink = target.open(fps, stream.size_hw)
    discarding.callback(sink.discard)  # once it is published, there is nothing left to remove
    return target, sink


def _nothing_written(source: VideoSource, pipeline: Pipeline) -> BaseException:
    if pipeline.has_ctrl_c:
        return KeyboardInterrupt()
    if pipeline.interrupted:
        return SegdinoDeployError(f"{source.name}: stopped before a frame was through; nothing is written")
    return SegdinoDeployError(f"{source.name}: {pipeline.problem or 'no frame was segmented'}")


def _report(
    stream: Stream, pipeline: Pipeline, outputs: list[tuple[VideoTarget, Sink]], written_fps: float
) -> VideoReport:
    seconds = pipeline.last_written_at - stream.began
    height, width = stream.size_hw
    if not stream.ended:
        stream.judge_rate(seconds)
    read, skipped, dropped = stream.frames_read, stream.frames_skipped, pipeline.frames_dropped
    segmented = pipeline.frames_written - pipeline.frames_repeated
    return VideoReport(
        source=stream.source.name,
        is_live=stream.is_live,
        width=width,
        height=height,
        source_fps=stream.fps,
        written_fps=written_fps,
        frames_promised=stream.promised,
        frames_read=read,
        frames_segmented=segmented,
        frames_skipped=skipped,
        frames_dropped=dropped,
        frames_abandoned=read - skipped - dropped - segmented,
        frames_repeated=pipeline.frames_repeated,
        frames_written=pipeline.frames_written,
        seconds=round(seconds, 3),
        fps=round(segmented / seconds, 3),
        latency_ms=pipeline.latency.summary(),
        stages={stage: samples.summary() for stage, samples in pipeline.stages.items()},
        outputs=[Output(head=t.head, kind=t.kind, path=str(sink.path), codec=t.codec) for t, sink in outputs],
        interrupted=pipeline.interrupted,
        problem=pipeline.problem,
        notes=[*stream.notes, *_notes(stream, pipeline, outputs)],
    )


def _notes(stream: Stream, pipeline: Pipeline, outputs: list[tuple[VideoTarget, Sink]]) -> list[str]:
    height, width = stream.size_hw
    renamed = [(target.path.name, sink.path.name) for target, sink in outputs if sink.path != target.path]
    notes: list[str] = []
    if renamed:
        given = ", ".join(name for _, name in renamed)
        planned = " or ".join(name for name, _ in renamed)
        notes.append(f"{planned} was there when this run was through, and is not replaced: written to {given}")
    if pipeline.frames_resized:
        notes.append(
            f"{pipeline.frames_resized} frames of another size were written at the first one's, {width}x{height}"
        )
    if (height % 2 or width % 2) and any(target.codec != "png" for target, _ in outputs):
        notes.append(
            f"{width}x{height} is odd: the last column or row is repeated once, for video files have even sizes"
        )
    return notes
