"""What a served model says of itself: a parameter per version in its configuration, which any client can ask for.

Triton keeps parameters that its backends do not know, and gives them with the configuration over gRPC and HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

import segdino_deploy
from segdino_deploy.bundle import Bundle
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import SCHEMA_VERSION, FileRecord, ModelCard, Precision, Record

RECORD_VERSION = 1  # of `ServedVersion`: grows when a reader of the old one would misread the new one
KEY_PREFIX = "segdino_deploy.version."  # followed by the version's number


class ServedVersion(Record):
    """One version of a served model: enough to feed it, to read its outputs and to know which engine it is."""

    record_version: int = RECORD_VERSION
    manifest_schema: int = SCHEMA_VERSION
    tool_version: str
    engine: str  # its name in the bundle
    backend: str
    precision: Precision
    inference_precision: str | None  # what the engine was measured in
    may_compute_in: str | None = None  # what a server may compute in instead, where Triton cannot be told otherwise
    built_with: dict[str, str]
    files: dict[str, FileRecord]  # by the name in the version's folder; the engine itself is the first
    card: ModelCard


def describe(bundle: Bundle, name: str, files: Mapping[str, str], may_compute_in: str | None) -> ServedVersion:
    """The record of the engine `name`. `files`: the bundle's file by the name that it gets, the engine itself first."""
    manifest = bundle.manifest
    engine = manifest.engines[name]
    return ServedVersion(
        tool_version=segdino_deploy.__version__,
        engine=name,
        backend=engine.backend,
        precision=engine.precision,
        inference_precision=engine.inference_precision,
        may_compute_in=may_compute_in,
        built_with=engine.built_with,
        files={target: manifest.files[source] for target, source in files.items()},
        card=manifest.model,
    )


def to_parameters(versions: Mapping[int, ServedVersion]) -> dict[str, str]:
    """Parameters of a model's configuration."""
    return {
        f"{KEY_PREFIX}{number}": json.dumps(version.model_dump(mode="json"), ensure_ascii=False)
        for number, version in versions.items()
    }


def from_parameters(parameters: Mapping[str, str], where: str) -> dict[int, ServedVersion]:
    """The versions by number; empty where another program made the model. InputError: damaged, or of a newer version of
    this program; `where` begins its line.
    """
    versions: dict[int, ServedVersion] = {}
    for key, text in parameters.items():
        number = key.removeprefix(KEY_PREFIX)
        if key != number and number.isdecimal():
            version, served = _parse(number, text, where)
            versions[version] = served
    return versions


def _parse(number: str, text: str, where: str) -> tuple[int, ServedVersion]:
    try:
        version = int(number)  # a ValueError for thousands of digits
        content: Any = json.loads(text)
        if isinstance(content, dict) and content.get("record_version", 0) > RECORD_VERSION:
            raise InputError(f"{where}: written by a newer segdino-deploy: update this one")
        return version, ServedVersion.model_validate(content)
    except (ValidationError, ValueError, TypeError) as error:
        raise InputError(f"{where}: its record is damaged; write it again: segdino-deploy triton") from error
