"""What TensorRT says, in one line each: kept for the receipt, or turned into an error with a cure."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from segdino_deploy.engines.tensorrt.flavours import Flavour, TensorRtModule
from segdino_deploy.errors import SegdinoDeployError, one_line

if TYPE_CHECKING:
    import tensorrt as trt

MAX_KEPT = 50
MAX_PARSER_ERRORS = 5
NOT_SUPPORTED = "this operator cannot be built: export the checkpoint anew with this version, or use another backend"


class Messages:
    """Warnings and errors of one builder, runtime or refitter, in order, each once."""

    def __init__(self, api: TensorRtModule) -> None:
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self.logger = _shared_logger(api)
        self.logger.sinks.append(weakref.ref(self))

    @property
    def for_receipt(self) -> list[str]:
        return self.warnings[:MAX_KEPT]

    def failure(self, what: str, flavour: Flavour, version: str) -> SegdinoDeployError:
        """The error to raise: the library's own first error, and the cure where one is known."""
        # what fails first is the reason; later messages say that something failed
        said = one_line(Exception(self.errors[0])) if self.errors else "it gives no reason"
        cure = next((cure for part, cure in flavour.cures if part in said), "")
        return SegdinoDeployError(f"{flavour.title} {version} {what}: {said}" + (f"; {cure}" if cure else ""))


# TensorRT has one logger per process: the first one stays while anything made with it lives, later ones are ignored.
# So there is one for each module here, and it hands every message to the newest `Messages` that is still there.
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
            self.sinks: list[weakref.ref[Messages]] = []

        def log(self, level: Any, message: str) -> None:
            self.sinks = [sink for sink in self.sinks if sink() is not None]
            newest = self.sinks[-1]() if self.sinks else None
            if newest is None or level > severity.WARNING:
                return
            kept = newest.warnings if level == severity.WARNING else newest.errors
            if message not in kept:
                kept.append(message)

    return Logger()


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
