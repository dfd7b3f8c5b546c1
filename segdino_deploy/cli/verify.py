"""`segdino-deploy verify`."""

from __future__ import annotations

from segdino_deploy.cli.arguments import BundleArgument, JsonOption, bundle_path
from segdino_deploy.cli.console import Progress, print_json, print_table
from segdino_deploy.errors import CheckFailed


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
            else:
                state = "passed" if v.record.passed else "FAILED"
                rows.append([v.name, v.precision, state, f"{100 * v.record.mask_agreement:.3f}%", v.record.detail])
        print_table(["engine", "precision", "canary", "same pixels", "detail"], rows)
    failed = [v.name for v in verdicts if v.failed]
    if failed:
        raise CheckFailed(
            f"{opened.path}: the canary failed on {', '.join(failed)}; rebuild with segdino-deploy build-engine"
        )
