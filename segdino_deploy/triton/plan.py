"""Which engine of which bundle becomes which model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.run import PREFERRED_PRECISIONS, RUNNERS, bundle_of
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import PRECISIONS, Engine
from segdino_deploy.triton.naming import check_name, model_name
from segdino_deploy.triton.options import RepositoryOptions
from segdino_deploy.triton.serving import Serving, require_backend, serve_engine

ENGINE_NAME = re.compile(rf"({'|'.join(RUNNERS)})-({'|'.join(PRECISIONS)})(?:-sm\d+)*")  # as `build-engine` makes it


@dataclass(frozen=True)
class EngineChoice:
    """What the user says of the engine; nothing: the one that `predict` prefers, among those that Triton can serve."""

    name: str | None = None
    backend: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        for option, value, known in (("backend", self.backend, RUNNERS), ("precision", self.precision, PRECISIONS)):
            if value is not None and value not in known:
                raise InputError(f"--{option}: {value!r} is none of {', '.join(known)}")
        backend, precision = self._by_name
        for option, value, meant in (("backend", self.backend, backend), ("precision", self.precision, precision)):
            if value is not None and meant is not None and value != meant:
                raise InputError(f"--{option}: {value}, but --engine is {self.name}; leave one of them out")

    @property
    def kind(self) -> tuple[str | None, str | None]:
        """Backend and precision, whether an option says them or the engine's name; None for what is left open."""
        backend, precision = self._by_name
        return self.backend or backend, self.precision or precision

    @property
    def _by_name(self) -> tuple[str | None, str | None]:
        match = ENGINE_NAME.fullmatch(self.name or "")
        return (match[1], match[2]) if match else (None, None)


@dataclass(frozen=True)
class PlannedModel:
    """One model of the repository."""

    name: str
    bundle: Bundle
    engine: str
    serving: Serving
    notes: tuple[str, ...] = ()


def plan_models(
    paths: Sequence[Path], choice: EngineChoice, options: RepositoryOptions, name: str | None = None
) -> list[PlannedModel]:
    """A model per bundle, or per engine file in one, all hashes verified.

    Raises InputError: no such engine, one that Triton cannot serve, two bundles whose models would have one name.
    """
    if name is not None and len(paths) > 1:
        raise InputError("--name: is for one bundle; of several, each model has the name of its bundle")
    planned: dict[str, PlannedModel] = {}
    for path in paths:
        bundle, only = bundle_of(path) if path.is_file() else (Bundle.open(path), None)
        if only is not None and choice != EngineChoice():
            raise InputError(f"{path}: is an engine already; leave out --engine, --backend and --precision")
        model = check_name(name) if name is not None else model_name(bundle.path)
        same = next((other for other in planned if other.lower() == model.lower()), None)
        if same is not None:  # some file systems see no difference between large and small letters
            raise InputError(
                f"{path} and {planned[same].bundle.path} would both be the model {model}; write them apart"
            )
        planned[model] = _plan(model, bundle, EngineChoice(only) if only else choice, options)
    return list(planned.values())


def _plan(model: str, bundle: Bundle, choice: EngineChoice, options: RepositoryOptions) -> PlannedModel:
    """The first engine in order that can be served. One that was named is never replaced."""
    card = bundle.manifest.model
    refused: list[InputError] = []
    for name, engine in _candidates(bundle, choice):
        try:
            serving = serve_engine(name, engine, card, options)
        except InputError as error:
            refused.append(error)
            continue
        notes = tuple(f"left out {error}" for error in refused)
        return PlannedModel(model, bundle, name, serving, (*notes, *serving.notes))
    raise InputError(f"{bundle.path}: {refused[0]}")


def _candidates(bundle: Bundle, choice: EngineChoice) -> list[tuple[str, Engine]]:
    engines = bundle.manifest.engines
    backend, precision = choice.kind
    if backend is not None:
        require_backend(str(bundle.path), backend, precision)
    found = [
        (name, engine)
        for name, engine in engines.items()
        if choice.name in (None, name)
        and choice.backend in (None, engine.backend)
        and choice.precision in (None, engine.precision)
    ]
    if not found:
        asked = " ".join(filter(None, (choice.name, choice.backend, choice.precision)))
        has = ", ".join(engines) or "none"
        build = f"segdino-deploy build-engine {bundle.path} --{precision or 'fp16'}" + (
            f" --backend {backend}" if backend else ""
        )
        cure = "name one that it has" if choice.name and not backend and engines else f"make one: {build}"
        raise InputError(f"{bundle.path}: no {asked + ' ' if asked else ''}engine (has: {has}); {cure}")
    order = list(RUNNERS)
    found.sort(key=lambda item: (PREFERRED_PRECISIONS.index(item[1].precision), order.index(item[1].backend)))
    return found
