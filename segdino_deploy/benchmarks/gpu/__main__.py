"""python benchmarks/gpu.py [SUITE] [-o DIR] [--only CASE] [--limit-seconds N]

Measures everything that runs on this machine's NVIDIA GPU, and goes on where an earlier run has stopped.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from segdino_deploy.errors import InputError, SegdinoDeployError

SUITE = Path("benchmarks/gpu.toml")
OUTPUT = Path("benchmarks/results/gpu")


def main(arguments: list[str]) -> int:
    """The exit code: 3 without a GPU. Every case is stored as soon as it is measured."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/gpu.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", type=Path, nargs="?", default=SUITE)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", metavar="CASE", help="one case, such as v1_convt-vit-s-512-batch1")
    parser.add_argument("--limit-seconds", type=float, metavar="N", help="begin nothing new after so many seconds")
    # To try the suite out where there is no GPU; its numbers say nothing.
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        if given.device != "cuda" and given.output is None:
            raise InputError("--device: its numbers are not of a GPU; name a place for them with -o")
        from segdino_deploy.benchmarks.gpu.device import open_device
        from segdino_deploy.benchmarks.gpu.suite import read_suite

        suite = read_suite(given.suite)
        device = open_device(given.device)
        from segdino_deploy.benchmarks.gpu.run import run_suite

        with closing(device.clock):
            run_suite(suite, device, given.output or OUTPUT, _say, given.only, given.limit_seconds)
    except SegdinoDeployError as error:
        _say(f"error: {error}")
        return error.exit_code
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
