"""python -m segdino_deploy.benchmarks.graph SUITE [-o DIR] [--only FAMILY-SIZE]"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from segdino_deploy.atomic import write_atomically
from segdino_deploy.benchmarks.graph.measure import measure_case
from segdino_deploy.benchmarks.graph.suite import read_suite
from segdino_deploy.errors import InputError, SegdinoDeployError


def main(arguments: list[str]) -> int:
    """Runs the suite; every case is stored as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m segdino_deploy.benchmarks.graph", description=__doc__)
    parser.add_argument("suite", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/graph"))
    parser.add_argument("--only", help="one case, such as v2-512")
    given = parser.parse_args(arguments)
    try:
        suite = read_suite(given.suite)
        cases = {f"{family}-{size}": (family, size) for size in suite.sizes for family in suite.families}
        if given.only is not None and given.only not in cases:
            raise InputError(f"--only: {given.only} is none of {', '.join(cases)}")
        for name, (family, size) in cases.items():
            if given.only in (None, name):
                with tempfile.TemporaryDirectory() as directory:
                    result = measure_case(family, size, suite, Path(directory), _say)
                write_atomically(given.output / f"{name}.json", (result.model_dump_json(indent=1) + "\n").encode())
                for engine in result.engines:
                    _say(f"{name}: {engine.name} {engine.times_faster:.2f} times faster than plain")
    except SegdinoDeployError as error:
        _say(f"error: {error}")
        return 2
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
