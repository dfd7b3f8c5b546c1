"""Ray, quietly: no dashboard, no usage report, no progress bars of its own; ended where we started it."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segdino_deploy.cluster.options import LOCAL, RayOptions
from segdino_deploy.errors import InputError, one_line
from segdino_deploy.requirements import require_module

STDERR = 2  # the descriptor
CONNECT_SECONDS = 5.0  # Ray itself would try for minutes, and talk of it
HOST_AND_PORT = re.compile(r"(?:ray://)?(?P<host>\[[^\]]+\]|[^:/]+):(?P<port>\d+)")


@contextmanager
def ray_session(options: RayOptions) -> Iterator[Any]:
    """The `ray` module, connected. A Ray that the calling program has started is used, and left as it is.

    Raises MissingComponent without Ray, InputError where no cluster answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its default changes, and it warns of that
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    ray: Any = require_module("ray", "--ray", extra="ray")
    require_module("ray.data", "--ray", extra="ray")
    was_running = ray.is_initialized()
    if not was_running:
        _start(ray, options)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield ray
    finally:
        if not was_running:
            ray.shutdown()


def _start(ray: Any, options: RayOptions) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if options.address == LOCAL:
        size: dict[str, Any] = {}
        if options.actors is not None:  # as many as are asked for, however few processors there are
            size = {"num_cpus": max(options.actors * options.cpus_per_actor, os.cpu_count() or 1)}
        ray.init("local", include_dashboard=False, **size, **quiet)
        return
    try:
        _connect_once(options.address)
        with without_stderr():  # where something else listens, Ray says so every second, past Python
            ray.init(options.address, **quiet)
    except Exception as error:  # ConnectionError, ValueError, RuntimeError: as the address is wrong
        raise InputError(
            f"--ray {options.address}: no cluster answers there ({one_line(error)}); name its address, or local"
        ) from error


def _connect_once(address: str) -> None:
    """Raises OSError or OverflowError where nothing listens at HOST:PORT; what has another form, Ray judges."""
    found = HOST_AND_PORT.fullmatch(address)
    if found is not None:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), CONNECT_SECONDS).close()


@contextmanager
def without_stderr() -> Iterator[None]:
    """Drops what anybody writes to stderr, past Python, too."""
    sys.stderr.flush()
    try:
        kept = os.dup(STDERR)
    except OSError:  # there is none
        yield
        return
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
