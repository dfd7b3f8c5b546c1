"""`segdino-deploy verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segdino_deploy.cli.arguments import EngineOrBundleArgument, JsonOption, bundle_path
from segdino_deploy.cli.console import Progress, print_json, print_table
from segdino_deploy.errors import CheckFailed, MissingComponent

if TYPE_CHECKING:
    from segdino_deploy.manifest import CanaryRecord


def command(bundle: EngineOrBundleArgument = None, as_json: JsonOption = False) -> None:
    """Run the canary on every engine that runs here, or on one engine.

    All hashes are compared first. Exit code 1 where an engine fails, 3 where none of them runs on this machine.
    """
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.engines.build.staging import remove_leftovers
    from segdino_deploy.engines.run import bundle_of
    from segdino_deploy.verify import verify_bundle

    path = bundle_path(bundle)
    opened, only = bundle_of(path) if path.is_file() else (Bundle.open(path), None)
    remove_leftovers(opened.path)
    with Progress() as progress:
        verdicts = verify_bundle(opened, progress.step, only)
    if as_json:
        print_json(
            [
                {
                    "name": v.name,
                    "precision": v.precision,
                    "record": v.record.model_dump(mode="json") if v.record else None,
                    "reason": v.reason,
                }
                for v in verdicts
            ]
        )
    else:
        rows = []
        for v in verdicts:
            if v.record is None:
                rows.append([v.name, v.precision, "not run here", "-", v.reason])
            for record in _by_head(v.record):
                name = f"{v.name} {record.head}".rstrip()
                state = "passed" if record.passed else "FAILED"
                rows.append([name, v.precision, state, f"{100 * record.mask_agreement:.3f}%", record.detail])
        print_table(["engine", "precision", "canary", "same pixels", "detail"], rows)
    engines = [v for v in verdicts if v.name in opened.manifest.engines]
    failed = [v.name for v in verdicts if v.failed]
    if failed:
        raise CheckFailed(
            f"{opened.path}: the canary failed on {', '.join(failed)}; rebuild with segdino-deploy build-engine"
        )
    if engines and all(v.record is None for v in engines):
        raise MissingComponent(f"{opened.path}: no engine was verified: none of them runs on this machine")


def _by_head(record: CanaryRecord | None) -> list[CanaryRecord]:
    """A line per named head, else one for the engine."""
    return [] if record is None else record.heads or [record]
