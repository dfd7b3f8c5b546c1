"""Building engines. A new backend is one file here and one entry in `BACKENDS`."""

from segdino_deploy.engines.build.backends import BACKENDS, choose_backend
from segdino_deploy.engines.build.check import check_build
from segdino_deploy.engines.build.options import BuildOptions, engine_name
from segdino_deploy.engines.build.pipeline import build_engine
from segdino_deploy.engines.build.resume import find_built

__all__ = ["BACKENDS", "BuildOptions", "build_engine", "check_build", "choose_backend", "engine_name", "find_built"]
