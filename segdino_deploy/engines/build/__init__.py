"""Building engines. A new backend is one file here and one line in `BACKENDS`."""

from segdino_deploy.engines.build.options import BuildOptions, find_built
from segdino_deploy.engines.build.pipeline import BACKENDS, build_engine, choose_backend

__all__ = ["BACKENDS", "BuildOptions", "build_engine", "choose_backend", "find_built"]
