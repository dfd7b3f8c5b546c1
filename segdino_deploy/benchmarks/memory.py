"""Peak host memory of one contestant, measured in a process of its own.

python -m segdino_deploy.benchmarks.memory BUNDLE ENGINE|torch-fp32 [--reference FILE]... [--backbone-weights FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from segdino_deploy.errors import SegdinoDeployError

RUNS = 3


def peak_memory_mib(
    bundle: Path, contestant: str, references: Sequence[Path] = (), backbone_weights: Path | None = None
) -> float:
    """Peak resident memory in MiB of opening `contestant` (by its name in the benchmark) and running it a few times."""
    command = [sys.executable, "-m", "segdino_deploy.benchmarks.memory", str(bundle), contestant]
    for path in references:
        command += ["--reference", str(path)]
    if backbone_weights is not None:
        command += ["--backbone-weights", str(backbone_weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SegdinoDeployError(f"measuring the memory of {contestant} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(json.loads(done.stdout)["peak_mib"])


def _own_peak_mib() -> float:
    """Peak of this process image. Linux's rusage would count the parent's memory at the fork too."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


def main(arguments: list[str]) -> None:
    from segdino_deploy.benchmarks.contestants import open_contestant
    from segdino_deploy.bundle import CANARY, Bundle
    from segdino_deploy.canary import Canary

    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("contestant")
    parser.add_argument("--reference", type=Path, action="append", default=[])
    parser.add_argument("--backbone-weights", type=Path)
    given = parser.parse_args(arguments)
    bundle = Bundle.open(given.bundle)
    image = Canary.read(bundle.file(CANARY)).image
    with open_contestant(bundle, given.contestant, given.reference, given.backbone_weights) as runner:
        for _ in range(RUNS):
            runner.run({"image": image})
    sys.stdout.write(json.dumps({"peak_mib": round(_own_peak_mib(), 1)}))


if __name__ == "__main__":
    main(sys.argv[1:])
