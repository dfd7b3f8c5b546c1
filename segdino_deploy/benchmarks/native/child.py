"""The pipe to a running `segdino_bench --serve`: one JSON line each way, with bytes behind it where it says so.

The protocol is described in cpp/bench/serve.hpp.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Array
from segdino_deploy.errors import CheckFailed, InputError, MissingComponent, SegdinoDeployError

ENDS_WITHIN_S = 5.0
ANSWERS_WITHIN_S = 600.0  # beside what it was asked to take: opening a large engine on a slow device is one answer
KINDS: Mapping[str, type[SegdinoDeployError]] = MappingProxyType(
    {"InputError": InputError, "CheckFailed": CheckFailed, "MissingComponent": MissingComponent}
)


@dataclass(frozen=True)
class Answer:
    line: dict[str, Any]
    arrays: dict[str, Array]  # by name


class Child:
    """A process and what is said to it. For any number of threads, of which one speaks at a time."""

    def __init__(self, command: Sequence[str], name: str, answers_within_s: float = ANSWERS_WITHIN_S) -> None:
        """`name`: of the contestant, for messages. Raises SegdinoDeployError where it cannot be started.

        A process that hangs would stop everything that waits for it: it is killed after `answers_within_s`.
        """
        self._name = name
        self._answers_within_s = answers_within_s
        self._turn = threading.Lock()
        self._told = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads would fill up)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._told, bufsize=-1
            )
        except OSError as error:
            self._told.close()
            raise SegdinoDeployError(f"{name}: cannot be started: {error}") from error

    def listen(self) -> Answer:
        """What it says without being asked."""
        with self._turn:
            return self._read()

    def ask(self, question: Mapping[str, object], payload: Sequence[NDArray[np.uint8]] = ()) -> Answer:
        """One question and its answer. `payload`: contiguous arrays, sent one behind the other.

        Raises what the process answers with (InputError, CheckFailed, MissingComponent, else SegdinoDeployError), and
        SegdinoDeployError, with its last words, where it has ended.
        """
        size = sum(array.nbytes for array in payload)
        line = {**question, "bytes": size} if size else question
        with self._turn:
            try:
                pipe = self._pipe(self._process.stdin)
                pipe.write(json.dumps(line).encode() + b"\n")
                for array in payload:
                    pipe.write(array.data)
                pipe.flush()
            except (OSError, ValueError) as error:  # ValueError: it was closed
                raise self._ended() from error
            return self._read()

    def close(self) -> None:
        """Lets it end, and ends it where it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what cannot be written any more
                self._pipe(pipe).close()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._told.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> Answer:
        deadline = threading.Timer(self._answers_within_s, self._process.kill)
        deadline.start()
        try:
            pipe = self._pipe(self._process.stdout)
            text = pipe.readline()
            line: dict[str, Any] = json.loads(text) if text.endswith(b"\n") else {}
            size = int(line.get("bytes", 0))
            payload = pipe.read(size)
        except (OSError, ValueError, TypeError, AttributeError) as error:  # the last two: JSON, but not of the protocol
            raise self._ended() from error
        finally:
            deadline.cancel()
        if not text.endswith(b"\n") or len(payload) != size:
            raise self._ended()
        if "error" in line:
            raise KINDS.get(str(line.get("kind")), SegdinoDeployError)(str(line["error"]))
        return Answer(line, _unpacked(line.get("arrays", []), payload))

    def _ended(self) -> SegdinoDeployError:
        """Why there is no answer."""
        try:
            status: object = self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return SegdinoDeployError(f"{self._name}: its process gave an answer that cannot be understood")
        said = ["it said nothing"]
        if not self._told.closed:
            self._told.seek(0)
            said += self._told.read().decode(errors="replace").strip().splitlines()
        why = said[-1].removeprefix("error: ")
        return SegdinoDeployError(f"{self._name}: its process has ended with status {status}: {why}")

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # all of them are pipes
        return pipe


def _unpacked(described: Sequence[Mapping[str, Any]], payload: bytes) -> dict[str, Array]:
    """Arrays that lie behind each other. Writable copies: the caller's own."""
    arrays: dict[str, Array] = {}
    start = 0
    for entry in described:
        dtype, shape = np.dtype(entry["type"]), tuple(entry["shape"])
        values = np.frombuffer(payload, dtype, int(np.prod(shape, dtype=np.int64)), start)
        arrays[entry["name"]] = values.reshape(shape).copy()
        start += values.nbytes
    return arrays
