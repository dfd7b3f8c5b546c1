"""Errors that users see: one line that says what, where and the cure, and the exit code that goes with it."""

from __future__ import annotations


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


def one_line(error: BaseException, limit: int = 300) -> str:
    """First line of a foreign error's text, at most `limit` characters: safe to quote inside our own message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
