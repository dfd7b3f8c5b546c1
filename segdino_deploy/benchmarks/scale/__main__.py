"""python -m segdino_deploy.benchmarks.scale SUITE --data DIR [-o DIR] [--only NAME]

DIR of --data holds the checkpoints and test/image, as of the other suites.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from segdino_deploy import __version__
from segdino_deploy.atomic import write_atomically
from segdino_deploy.benchmarks.scale.folder import measure_folder
from segdino_deploy.benchmarks.scale.large_image import measure_large_image
from segdino_deploy.benchmarks.scale.result import ScaleResult
from segdino_deploy.benchmarks.scale.serving import measure_overload, measure_served
from segdino_deploy.benchmarks.scale.suite import Case, Suite, read_suite
from segdino_deploy.benchmarks.suites import check_data, choose_cases, say
from segdino_deploy.engines.build import BuildOptions, build_engine
from segdino_deploy.engines.run import open_engine
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.export.pipeline import export_model
from segdino_deploy.images import list_images
from segdino_deploy.machine import OtherWork, machine_name, usable_threads


def main(arguments: list[str]) -> int:
    """Runs the suite; every case is stored as soon as it is measured."""
    parser = argparse.ArgumentParser(
        prog="python -m segdino_deploy.benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/scale"))
    parser.add_argument("--only", help="one case, such as vit-s-v1_convt-256")
    given = parser.parse_args(arguments)
    try:
        suite = read_suite(given.suite)
        cases = choose_cases(suite.cases, given.only)
        check_data(cases, given.data)
        for case in cases:
            with tempfile.TemporaryDirectory() as directory:
                result = measure_case(case, suite, given.data, Path(directory))
            content = (result.model_dump_json(indent=1) + "\n").encode()
            write_atomically(given.output / f"{case.name}.json", content)
    except SegdinoDeployError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


def measure_case(case: Case, suite: Suite, data: Path, directory: Path) -> ScaleResult:
    """Exports, builds and measures one case in `directory`. InputError: data, checkpoint."""
    path = directory / f"{case.name}.segdino"
    size = (case.size, case.size)
    options = ExportOptions(input_size=size, outputs=("mask", "probability"))
    bundle = export_model(data / case.checkpoint, path, options, on_step=say)
    build_engine(bundle, BuildOptions(case.precision, case.backend), on_step=say)
    folder = data / "test" / "image"
    others = OtherWork()
    with open_engine(path) as runner:
        say(f"{case.name}: the folder")
        of_folder = measure_folder(runner, folder, suite.rounds)
        card, engine = runner.card, f"{runner.backend} {runner.precision} on {runner.device}"
    large = None
    if case.image_side is not None:
        say(f"{case.name}: an image of {case.image_side} pixels squared")
        large = measure_large_image(path, card, list_images(folder)[0], case.image_side, directory)
    served = measure_served(path, suite.clients, suite.rounds, suite.round_seconds, lambda s: say(f"{case.name}: {s}"))
    overload = None
    if case.overload_seconds is not None:
        say(f"{case.name}: {case.overload_seconds:.0f} seconds of overload")
        overload = measure_overload(path, case.overload_seconds)
    return ScaleResult(
        name=case.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tool_version=__version__,
        machine=machine_name(),
        threads=usable_threads(),
        others_busy=others.processors(),
        engine=engine,
        input_hw=size,
        folder=of_folder,
        served=served,
        overload=overload,
        large_image=large,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
