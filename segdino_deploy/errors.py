"""Errors that users see: one line that says what, where and the cure, and the exit code that goes with it."""

from __future__ import annotations

import re


class SegdinoDeployError(Exception):
    """Base of every error this package raises on purpose. The CLI prints its one line and exits with `exit_code`."""

    exit_code = 2


class InputError(SegdinoDeployError):
    """Wrong usage or an unusable input file: the caller can cure it (exit code 2)."""

    exit_code = 2


class CheckFailed(SegdinoDeployError):
    """A check ran and failed: parity, canary, accuracy budget (exit code 1)."""

    exit_code = 1


class MissingComponent(SegdinoDeployError):
    """A library, device or tool that the request needs is not on this machine (exit code 3)."""

    exit_code = 3


# A line with which OpenVINO says where in its source something was found; what was found comes behind it.
_OF_SOURCE = re.compile(r"(Exception from |Check '.*' failed at ).*:")


def one_line(error: BaseException, limit: int = 300) -> str:
    """First line of a foreign error's text that says what, at most `limit` characters: safe to quote in our message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not _OF_SOURCE.fullmatch(line)]
    text = next(iter(telling or lines), type(error).__name__)
    return text if len(text) <= limit else text[: limit - 1] + "…"
