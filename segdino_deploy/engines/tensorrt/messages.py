"""What TensorRT says, in one line each: kept for the receipt, or turned into an error with a cure."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segdino_deploy.engines.tensorrt.flavours import Flavour, TensorRtModule
from segdino_deploy.errors import SegdinoDeployError, one_line

if TYPE_CHECKING:
    import tensorrt as trt

MAX_KEPT = 50
MAX_HEARD = 1000
MAX_PARSER_ERRORS = 5
NOT_SUPPORTED = "this operator cannot be built: export the checkpoint anew with this version, or use another backend"


@dataclass(frozen=True)
class _Message:
    number: int  # all messages of a library are counted
    thread: int
    is_callers: bool  # said on a thread of Python's, not on one that TensorRT has started
    text: str


class _Log:
    """All that one library has said lately, for everybody who uses it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.count = 0
        self.warnings: deque[_Message] = deque(maxlen=MAX_HEARD)
        self.errors: deque[_Message] = deque(maxlen=MAX_HEARD)

    def add(self, text: str, *, is_error: bool) -> None:
        """Of the calling thread."""
        me = threading.get_ident()
        is_callers = me in _threads_of_python()
        with self.lock:
            self.count += 1
            (self.errors if is_error else self.warnings).append(_Message(self.count, me, is_callers, text))


class Messages:
    """Warnings and errors of one builder, runtime or refitter, whichever threads use it.

    A library has one logger for all of its objects, so that its messages are told apart by their threads: an error is
    of the thread that calls, or of one that TensorRT has started, but never of another caller's.
    """

    def __init__(self, api: TensorRtModule) -> None:
        self.logger = _shared_logger(api)
        self._log: _Log = self.logger.said
        self._born = self._log.count
        self._listening = threading.local()

    def listen(self) -> None:
        """To be called before TensorRT is: what this thread was told before is not the reason of what fails now."""
        self._listening.since = self._log.count

    @property
    def warnings(self) -> list[str]:
        return _texts(self._heard(self._log.warnings, self._born))

    @property
    def errors(self) -> list[str]:
        """Since `listen`: the calling thread's own ones, then those of TensorRT's threads."""
        return _texts(self._heard(self._log.errors, self._since))

    @property
    def for_receipt(self) -> list[str]:
        return self.warnings[:MAX_KEPT]

    def failure(
        self, what: str, flavour: Flavour, version: str, cures: Sequence[tuple[str, str]] = ()
    ) -> SegdinoDeployError:
        """The error to raise: the library's own first error, and the cure where one is known. It is forgotten then.

        `cures`: of this call, before those of the flavour; part of a message and what to do.
        """
        with self._log.lock:
            heard = self._heard(self._log.errors, self._since)
            for message in heard:
                self._log.errors.remove(message)
        # what fails first is the reason; later messages say that something failed
        said = one_line(Exception(heard[0].text)) if heard else "it gives no reason"
        cure = next((cure for part, cure in (*cures, *flavour.cures) if part in said), "")
        return SegdinoDeployError(f"{flavour.title} {version} {what}: {said}" + (f"; {cure}" if cure else ""))

    @property
    def _since(self) -> int:
        since: int = getattr(self._listening, "since", self._born)
        return since

    def _heard(self, kept: Iterable[_Message], since: int) -> list[_Message]:
        me = threading.get_ident()
        with self._log.lock:
            later = [message for message in kept if message.number > since]
        mine = [message for message in later if message.thread == me]
        return mine + [message for message in later if message.thread != me and not message.is_callers]


# TensorRT has one logger per process: the first one stays while anything made with it lives, later ones are ignored.
_LOGGERS: dict[str, Any] = {}


def _shared_logger(api: TensorRtModule) -> Any:
    if api.__name__ not in _LOGGERS:
        _LOGGERS[api.__name__] = _make_logger(api)
    return _LOGGERS[api.__name__]


def _make_logger(api: TensorRtModule) -> Any:
    severity = api.ILogger.Severity

    class Logger(api.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            api.ILogger.__init__(self)
            self.said = _Log()

        def log(self, level: Any, message: str) -> None:
            if level <= severity.WARNING:
                self.said.add(message, is_error=level < severity.WARNING)

    return Logger()


def _threads_of_python() -> set[int | None]:
    """Without those that others have started, which `threading` takes in as dummies when they ask it for themselves."""
    return {thread.ident for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}


def _texts(messages: Iterable[_Message]) -> list[str]:
    """In order, each once."""
    return list(dict.fromkeys(message.text for message in messages))


def parser_failure(parser: trt.OnnxParser, flavour: Flavour, version: str) -> SegdinoDeployError:
    """Every node that the parser refuses, with its operator and reason, and what to do."""
    lines, unsupported = [], False
    for index in range(min(parser.num_errors, MAX_PARSER_ERRORS)):
        error = parser.get_error(index)
        name, operator = error.node_name() or "graph", error.node_operator()
        unsupported |= "UNSUPPORTED" in str(error.code()) or "Plugin not found" in error.desc()  # nobody knows it
        lines.append(f"{name} ({operator}): {one_line(Exception(error.desc()))}")
    rest = parser.num_errors - MAX_PARSER_ERRORS
    said = "; ".join(lines) + (f"; and {rest} more" if rest > 0 else "")
    cure = f"; {NOT_SUPPORTED}" if unsupported else ""
    return SegdinoDeployError(f"{flavour.title} {version} cannot read the model: {said or 'it gives no reason'}{cure}")
