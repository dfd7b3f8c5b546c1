"""The five SegDINO head families. A new one is a file here and a line in `HEADS`."""

from segdino_deploy.model.heads.base import Head, HeadConfig
from segdino_deploy.model.heads.fine_grained import FineGrainedHead
from segdino_deploy.model.heads.linear import LinearHead
from segdino_deploy.model.heads.pyramid import InitialPyramidHead, PyramidHead

HEADS: dict[str, type[Head]] = {
    "v1_paper": LinearHead,
    "v1_convt": LinearHead,
    "fine_grained": FineGrainedHead,
    "v2_initial": InitialPyramidHead,
    "v2": PyramidHead,
}


def build_head(config: HeadConfig) -> Head:
    """A head with unset weights, ready for a strict load."""
    return HEADS[config.family](config)


__all__ = ["HEADS", "Head", "HeadConfig", "build_head"]
