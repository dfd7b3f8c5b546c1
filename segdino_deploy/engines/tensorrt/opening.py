"""A session of a loaded engine: what the runner and the benchmark run it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from segdino_deploy.engines.run.device_memory import DeviceMemory
from segdino_deploy.engines.tensorrt.loading import LoadedEngine
from segdino_deploy.engines.tensorrt.runtime_cache import RuntimeCache
from segdino_deploy.engines.tensorrt.session import Session, new_context
from segdino_deploy.manifest import ModelCard

if TYPE_CHECKING:
    import tensorrt as trt


AnySession = TypeVar("AnySession", bound=Session)


def open_session(
    kind: type[AnySession],
    loaded: LoadedEngine,
    cache: RuntimeCache | None,
    memory: DeviceMemory,
    card: ModelCard,
    what: str,
) -> AnySession:
    """One of any number, of the given kind. `cache`: of the products that compile where they run, which capture graphs
    by themselves.

    `what`: could not be done, for errors. SegdinoDeployError where there is no memory for it.
    """

    def create() -> trt.IExecutionContext | None:
        assert loaded.engine is not None
        loaded.messages.listen()
        made = new_context(loaded.engine) if cache is None else cache.context(loaded.engine, loaded.api)
        if made is not None and hasattr(made, "nvtx_verbosity"):
            # The engine keeps its layers' details for the receipt; a running one need not mark them for profilers.
            made.nvtx_verbosity = loaded.api.ProfilingVerbosity.NONE
        return made

    return kind(
        memory,
        create,
        card,
        lambda: loaded.failure(what),
        captures_itself=cache is not None,
        listen=loaded.messages.listen,
    )
