"""Where a report goes: into the bundle, and into a folder where one was named."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ValidationError

from segdino_deploy.atomic import disk_errors, write_atomically
from segdino_deploy.benchmarks.report.figures import PLANS
from segdino_deploy.benchmarks.report.write import REPORT_JSON, render_files, require_report_tools
from segdino_deploy.benchmarks.result import BenchResult
from segdino_deploy.bundle import Bundle, is_bundle
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.manifest import Manifest
from segdino_deploy.progress import OnStep, ignore

FOLDER = "report"
# What a former run left in the bundle; reports of int8 searches, `report/<engine>.*`, are not bench's.
OWN_FILES = ("report.json", "report.md", "index.html", "bench.json", "bench.md")
OWN_FOLDERS = ("figures/", "images/")


@contextmanager
def report_directory(named: Path | None) -> Iterator[Path]:
    """A folder for pictures until they are stored. MissingComponent, before anything long, where a report was asked for
    by name and its tools are not here."""
    if named is not None:
        require_report_tools()
        _require_place(named)
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def _require_place(named: Path) -> None:
    """InputError where no report can be written, or where other files would get between a bundle's."""
    for folder in (named.absolute(), *named.absolute().parents):
        if is_bundle(folder):
            raise InputError(f"--report: {named} is inside the bundle {folder}, which gets the report by itself")
    try:
        named.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--report: {named}: no folder can be made there ({one_line(error)})") from error
    if not os.access(named, os.W_OK):
        raise InputError(f"--report: {named}: no permission to write there; name another folder")


def save_report(
    result: BenchResult, pictures: Path, bundle: Bundle, named: Path | None, on_note: OnStep = ignore
) -> Path:
    """Puts the report into the bundle in the place of the last one, in one step, and where asked into `named`.

    Returns the page to open: `index.html`, or `report.md` where the tools for the other are not here. Raises what
    writing raises; of a bundle that cannot be written, `on_note` gets a line where the report is whole in `named`.
    """
    files = render_files(result, lambda name: (pictures / name).read_bytes())
    folder = bundle.path / FOLDER
    if named is not None:
        _replace_report(named, files)
        folder = named
    try:
        bundle.update({f"{FOLDER}/{name}": content for name, content in files.items()}, _without_old_report)
    except (SegdinoDeployError, OSError) as error:
        if named is None:
            raise
        on_note(f"note: the bundle does not have this report, {named} has: {one_line(error)}")
    return folder / ("index.html" if "index.html" in files else "report.md")


def _replace_report(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes `files`, and removes what the report that stood there had more."""
    former = _files_of_report(folder)
    for name, content in files.items():
        write_atomically(folder / name, content)
    inside = folder.resolve()
    for path in (folder / name for name in sorted(former - files.keys())):
        if path.is_file() and path.resolve().parent.is_relative_to(inside):
            with disk_errors(path):
                path.unlink()


class _FormerRow(BaseModel):
    worst: list[dict[str, object]] = []


class _FormerReport(BaseModel):
    """What all versions of `report.json` have in common."""

    schema_version: int
    rows: list[_FormerRow]


def _files_of_report(folder: Path) -> set[str]:
    """Pictures that the report in a folder names, and its figures; empty where there is none. A folder that somebody
    named may hold files of theirs beside it."""
    try:
        former = _FormerReport.model_validate_json((folder / REPORT_JSON).read_bytes())
    except (OSError, ValidationError):
        return set()
    cases = [case for row in former.rows for case in row.worst]
    named = {name for case in cases for key, name in case.items() if key.endswith("_picture") and isinstance(name, str)}
    pictures = {name for name in named if name.startswith("images/") and ".." not in PurePosixPath(name).parts}
    return pictures | {f"figures/{plan.name}.png" for plan in PLANS}


def _without_old_report(manifest: Manifest) -> Manifest:
    kept = {name: record for name, record in manifest.files.items() if not _is_own(name)}
    return manifest.model_copy(update={"files": kept})


def _is_own(name: str) -> bool:
    inside = name.removeprefix(f"{FOLDER}/")
    return inside != name and (inside in OWN_FILES or inside.startswith(OWN_FOLDERS))
