"""Video files, image sequences, cameras and network streams: decode, run and encode overlapped."""

from segdino_deploy.video.options import VideoOptions
from segdino_deploy.video.report import VideoReport
from segdino_deploy.video.segment import segment_video
from segdino_deploy.video.source import VideoSource, parse_source

__all__ = ["VideoOptions", "VideoReport", "VideoSource", "parse_source", "segment_video"]
