"""`segdino-deploy doctor`."""

from __future__ import annotations

from dataclasses import asdict

from segdino_deploy.cli.arguments import JsonOption
from segdino_deploy.cli.console import print_json, print_table


def command(as_json: JsonOption = False) -> None:
    """Say what this machine can build and run.

    And what to install for the rest.
    """
    from segdino_deploy.doctor import diagnose

    findings = diagnose()
    if as_json:
        print_json([asdict(finding) for finding in findings])
        return
    rows = [["ok" if f.ok else "--", f.component, f.state, f.cure] for f in findings]
    print_table(["", "component", "state", "cure"], rows)
