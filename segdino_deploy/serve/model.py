"""A bundle's engine, opened and checked before anybody may ask it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from segdino_deploy.bundle import Bundle
from segdino_deploy.canary import canary_for
from segdino_deploy.engines.run import Runner, bundle_of, open_engine
from segdino_deploy.engines.run.openvino import OpenVinoRunner
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.evidence import check_heads
from segdino_deploy.export.graph import INPUT
from segdino_deploy.progress import OnStep, ignore
from segdino_deploy.triton.naming import model_name
from segdino_deploy.triton.record import ServedVersion, describe, to_parameters


@dataclass(frozen=True)
class OpenModel:
    """`name`: the bundle's, as Triton would have it. `parameters`: which engine it is, for whoever must be sure."""

    name: str
    runner: Runner
    version: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def engine(self) -> str:
        """In words."""
        return f"{self.runner.backend} {self.runner.precision} on {self.runner.device}"


@contextmanager
def open_models(
    paths: Sequence[Path],
    *,
    precision: str | None = None,
    backend: str | None = None,
    threads: int | None = None,
    on_step: OnStep = ignore,
) -> Iterator[dict[str, OpenModel]]:
    """Engines by the model's name, of bundles or of one engine file each; closed at the end.

    Raises InputError for two of one name, CheckFailed where an engine's canary fails, and what `open_engine` raises.
    """
    with ExitStack() as stack:
        models: dict[str, OpenModel] = {}
        for path in paths:
            bundle, named = bundle_of(path) if path.is_file() else (Bundle.open(path), None)
            name = model_name(bundle.path)
            if name in models:
                raise InputError(f"{path}: there is a model named {name} already; rename the bundle")
            on_step(f"opening {name}")
            runner = stack.enter_context(open_engine(path, precision=precision, backend=backend, threads=threads))
            engine = named or _engine_of(bundle, runner)
            on_step(f"running the canary on {name}")
            _require_canary(bundle, engine, runner)
            record = _record(bundle, engine)
            version = version_of(record)
            models[name] = OpenModel(name, runner, version, to_parameters({version: record}))
        yield models


def _engine_of(bundle: Bundle, runner: Runner) -> str:
    """Which engine was opened. InputError where several of its backend and precision are for other devices."""
    engines = bundle.manifest.engines.items()
    names = [
        name for name, engine in engines if (engine.backend, engine.precision) == (runner.backend, runner.precision)
    ]
    if len(names) > 1:
        raise InputError(f"{bundle.path}: has {' and '.join(names)}: name the file of the one to be served")
    return names[0]


def _require_canary(bundle: Bundle, name: str, runner: Runner) -> None:
    """CheckFailed where the engine does not answer as its model does."""
    engine = bundle.manifest.engines[name]
    canary = canary_for(bundle, engine.source)
    outputs = runner.run({INPUT: canary.image})
    record = check_heads(canary.logits, outputs, runner.card.thresholds, runner.precision)
    if not record.passed:
        raise CheckFailed(
            f"{bundle.path}: not served: the canary failed on {engine.file} ({record.detail}); "
            "rebuild it with segdino-deploy build-engine"
        )


def _record(bundle: Bundle, name: str) -> ServedVersion:
    """What the model repository of `segdino-deploy triton` says of it."""
    engine = bundle.manifest.engines[name]
    files = {PurePosixPath(file).name: file for file in (engine.file, *engine.companions)}
    return describe(bundle, name, files, None)


def version_of(record: ServedVersion) -> int:
    """A number above 0 that is the engine's own, by its files and what it computes in.

    A client that goes on after the server was started anew with another engine is told so: its version is gone.
    """
    text = " ".join([*(file.sha256 for file in record.files.values()), record.inference_precision or ""])
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) or 1


def parallel_calls(runner: Runner) -> int:
    """Calls that the engine computes well at the same time: OpenVINO says how many (one per socket), for others one."""
    if isinstance(runner, OpenVinoRunner):
        return int(runner.compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    return 1
