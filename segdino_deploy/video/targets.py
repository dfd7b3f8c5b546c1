"""What is written of a video, and under which names: planned for all sources before the first frame is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segdino_deploy.errors import InputError
from segdino_deploy.manifest import ModelCard
from segdino_deploy.video.options import VideoOptions
from segdino_deploy.video.sink import CODECS, PngSink, Sink, VideoSink
from segdino_deploy.video.source import VideoSource

Kind = Literal["overlay", "mask"]


@dataclass(frozen=True)
class VideoTarget:
    """One file or folder of one head."""

    head: str
    num_classes: int
    kind: Kind
    codec: str  # a key of `sink.CODECS`, or "png"
    path: Path

    def open(self, fps: float, size_hw: tuple[int, int]) -> Sink:
        if self.codec == "png":
            return PngSink(self.path)
        return VideoSink(self.path, self.codec, fps, size_hw, is_color=self.kind == "overlay")


def plan_targets(source: VideoSource, output: Path, card: ModelCard, options: VideoOptions) -> list[VideoTarget]:
    """`<stem>.overlay.mp4`, `<stem>.mask.mkv` or `<stem>.mask/` below `output`; of named heads
    `<stem>.<head>.overlay.mp4` and so on.

    Raises InputError: a result that is an input; a folder of masks that is there already, and the recording of a live
    source, for they are not replaced.
    """
    targets: list[VideoTarget] = []
    for head in card.heads:
        stem = f"{source.stem}.{head.name}" if head.name else source.stem
        if options.overlay:
            path = output / f"{stem}.overlay{CODECS[options.overlay_codec][1]}"
            targets.append(VideoTarget(head.name, head.num_classes, "overlay", options.overlay_codec, path))
        if options.mask_video is not None:
            suffix = "" if options.mask_video == "png" else CODECS[options.mask_video][1]
            path = output / f"{stem}.mask{suffix}"
            targets.append(VideoTarget(head.name, head.num_classes, "mask", options.mask_video, path))
    for target in targets:
        if source.path is not None and target.path.resolve() == source.path.resolve():
            raise InputError(f"{source.name}: its result {target.path} would overwrite it; choose another -o")
        if target.path.is_dir():
            raise InputError(
                f"{target.path}: a folder that is there already is not replaced; move it or choose another -o"
            )
    if source.is_live:
        require_no_earlier(targets)
    return targets


def require_no_earlier(targets: Sequence[VideoTarget]) -> None:
    """Raises InputError where there is a recording already; for sources that are known to be live."""
    for target in targets:
        if target.path.exists():
            raise InputError(f"{target.path}: an earlier recording is not replaced; move it or choose another -o")


def check_apart(sources: Sequence[VideoSource], output: Path, card: ModelCard, options: VideoOptions) -> None:
    """Raises InputError where a result of one source is another source, or a result of another one."""
    inputs = {source.path.resolve(): source for source in sources if source.path is not None}
    written: dict[Path, VideoSource] = {}
    for source in sources:
        for target in plan_targets(source, output, card, options):
            path = target.path.resolve()
            if path in inputs:
                raise InputError(f"{source.name}: its result {target.path} would overwrite an input; choose another -o")
            if path in written:
                other = written[path].name
                raise InputError(f"{source.name} and {other} would both be written to {target.path}; run them apart")
            written[path] = source
