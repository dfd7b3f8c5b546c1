"""`segdino-deploy verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segdino_deploy.cli.arguments import BundleArgument, JsonOption, bundle_path
from segdino_deploy.cli.console import Progress, print_json, print_table
from segdino_deploy.errors import CheckFailed

if TYPE_CHECKING:
    from segdino_deploy.manifest import CanaryRecord


def command(bundle: BundleArgument = None, as_json: JsonOption = False) -> None:
    """Run the canary on every engine that runs here.

    All hashes are compared first. Exit code 1 where an engine fails.
    """
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.verify import verify_bundle

    opened = Bundle.open(bundle_path(bundle))
    with Progress() as progress:
        verdicts = verify_bundle(opened, progress.step)
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
    failed = [v.name for v in verdicts if v.failed]
    if failed:
        raise CheckFailed(
            f"{opened.path}: the canary failed on {', '.join(failed)}; rebuild with segdino-deploy build-engine"
        )


def _by_head(record: CanaryRecord | None) -> list[CanaryRecord]:
    """A line per named head, else one for the engine."""
    return [] if record is None else record.heads or [record]
