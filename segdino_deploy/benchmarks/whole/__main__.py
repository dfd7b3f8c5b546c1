"""python -m segdino_deploy.benchmarks.whole SUITE --data DIR [-o DIR] [--only NAME]

DIR of --data holds the checkpoints, train/image and test/{image,mask}.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segdino_deploy.atomic import write_atomically
from segdino_deploy.benchmarks.bench import run_bench
from segdino_deploy.benchmarks.native.program import find_program
from segdino_deploy.benchmarks.options import BenchOptions
from segdino_deploy.benchmarks.result import BenchResult
from segdino_deploy.benchmarks.suites import check_data, choose_cases, say
from segdino_deploy.benchmarks.whole.suite import Case, Suite, read_suite
from segdino_deploy.engines.build import BuildOptions, build_engine
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.export.pipeline import export_model


def main(arguments: list[str]) -> int:
    """Runs the suite; every case is stored as soon as it is measured. 1: an engine misses the suite's budget."""
    parser = argparse.ArgumentParser(
        prog="python -m segdino_deploy.benchmarks.whole",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--only", help="one case, such as vit-s-v2-256")
    parser.add_argument("--cpp", type=Path, metavar="SEGDINO_BENCH", help="for the cases that compare C++ with Python")
    given = parser.parse_args(arguments)
    try:
        suite = read_suite(given.suite)
        cases = choose_cases(suite.cases, given.only)
        check_data(cases, given.data)
        check_program(cases, given.cpp)
        kept = True
        for case in cases:
            with tempfile.TemporaryDirectory() as directory:
                result = measure_case(case, suite, given.data.resolve(), Path(directory), given.cpp)
            path = given.output.resolve() / f"{case.name}.json"
            write_atomically(path, (result.model_dump_json(indent=1) + "\n").encode())
            say(f"{case.name}: " + "; ".join(verdict.detail for verdict in result.verdicts))
            kept = kept and result.passed
    except SegdinoDeployError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0 if kept else 1


def check_program(cases: Sequence[Case], program: Path | None) -> None:
    """InputError where a case needs segdino_bench and it was not named; MissingComponent where it does not run."""
    needing = [case.name for case in cases if case.cpp]
    if needing and program is None:
        raise InputError(f"--cpp: {needing[0]} needs segdino_bench; build it as cpp/README.md says and name it")
    if needing and program is not None:
        find_program(program)


def measure_case(case: Case, suite: Suite, data: Path, directory: Path, program: Path | None = None) -> BenchResult:
    """Exports, builds and benches one case in `directory`. `program`: segdino_bench, for a case that compares C++.

    InputError: data, checkpoint.
    """
    bundle = export_model(
        data / case.checkpoint,
        directory / f"{case.name}.segdino",
        ExportOptions(input_size=(case.size, case.size), class_names=tuple(case.classes) if case.classes else None),
        on_step=say,
    )
    for backend, precisions in case.engines.items():
        for precision in precisions:
            options = BuildOptions(precision, backend, calibration_images=None)
            if precision == "int8":
                calibration = data / "train" / "image"
                options = replace(options, calibration=calibration, calibration_images=suite.calibration_images)
            build_engine(bundle, options, on_step=say)
    bench = BenchOptions(
        references=(data / case.checkpoint,),
        data=data / "test",
        foreground=tuple(case.foreground) if case.foreground else None,
        rounds=suite.rounds,
        warmup=suite.warmup,
        callers=tuple(suite.callers),
        max_drop=suite.max_drop,
        worst=0,  # a stored run has no pictures
        layers=not case.cpp,  # which are the same in both languages
        cpp=program if case.cpp else None,
    )
    result = run_bench(bundle, bench, directory, lambda stage, done, total: say(f"{stage}: {done}/{total}"))
    relative = replace(bench, references=(case.checkpoint,), data=Path("test"), cpp=bench.cpp and Path(bench.cpp.name))
    return result.model_copy(update={"command": relative.command(Path(bundle.path.name))})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
