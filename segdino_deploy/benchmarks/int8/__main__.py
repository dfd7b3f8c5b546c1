"""python -m segdino_deploy.benchmarks.int8 SUITE --data DIR [-o DIR] [--only NAME] [--peer-env DIR]

DIR of --data holds the checkpoints, train/{image,mask} and test/{image,mask}.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from segdino_deploy.atomic import write_atomically
from segdino_deploy.benchmarks.int8.measure import measure_case
from segdino_deploy.benchmarks.int8.peer import prepare_peer
from segdino_deploy.benchmarks.int8.suite import read_suite
from segdino_deploy.benchmarks.suites import check_data, choose_cases, say
from segdino_deploy.errors import SegdinoDeployError


def main(arguments: list[str]) -> int:
    """Runs the suite; every case is stored as soon as it is measured."""
    parser = argparse.ArgumentParser(
        prog="python -m segdino_deploy.benchmarks.int8",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/int8"))
    parser.add_argument("--only", help="one case, such as v2-512")
    parser.add_argument(
        "--peer-env", type=Path, default=Path(".venv-peer"), help="virtual environment of the peer, made where missing"
    )
    given = parser.parse_args(arguments)
    try:
        suite = read_suite(given.suite)
        cases = choose_cases(suite.cases, given.only)
        check_data(cases, given.data)
        python = prepare_peer(given.peer_env, say)
        for case in cases:
            with tempfile.TemporaryDirectory() as directory:
                result = measure_case(case, suite, given.data, python, Path(directory), say)
            write_atomically(given.output / f"{case.name}.json", (result.model_dump_json(indent=1) + "\n").encode())
            ours = result.contestant(result.ours)
            say(
                f"{case.name}: {ours.times_faster:.2f} times faster than eager, {ours.times_faster_than_peer:.2f} than "
                f"{result.best_peer}; agreement {ours.agreement:.5f}"
            )
    except SegdinoDeployError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
