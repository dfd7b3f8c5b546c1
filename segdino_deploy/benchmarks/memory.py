"""Peak host memory of one contestant, measured in a process of its own.

python -m segdino_deploy.benchmarks.memory BUNDLE ENGINE|torch [CHECKPOINT [BACKBONE_WEIGHTS]]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

from segdino_deploy.errors import SegdinoDeployError

RUNS = 3


def peak_memory_mib(bundle: Path, contestant: str, files: tuple[Path, ...] = ()) -> float:
    """Peak resident memory in MiB of opening `contestant` (an engine's name, or `torch`) and running it a few times."""
    command = [sys.executable, "-m", "segdino_deploy.benchmarks.memory", str(bundle), contestant, *map(str, files)]
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

    bundle = Bundle.open(arguments[0])
    checkpoint, backbone_weights = ([Path(argument) for argument in arguments[2:]] + [None, None])[:2]
    image = Canary.read(bundle.file(CANARY)).image
    with open_contestant(bundle, arguments[1], checkpoint, backbone_weights) as runner:
        for _ in range(RUNS):
            runner.run({"image": image})
    sys.stdout.write(json.dumps({"peak_mib": round(_own_peak_mib(), 1)}))


if __name__ == "__main__":
    main(sys.argv[1:])
