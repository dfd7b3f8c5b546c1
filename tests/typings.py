"""Puts the type stubs of TensorRT where mypy finds them: `python -m tests.typings DIR`.

Some signatures in `tensorrt-stubs`, of calls that are not used here, are no Python: a parameter named `in`, one without
a default after one with a default.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path


def stubs() -> str:
    """The stubs of `tensorrt`, mended. ModuleNotFoundError where they are not installed."""
    spec = importlib.util.find_spec("tensorrt_stubs")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("tensorrt_stubs is not installed: pip install --no-deps tensorrt-stubs")
    source = Path(spec.origin).parents[1] / "tensorrt_bindings" / "tensorrt.pyi"
    text = re.sub(r"\bin:", "in_:", source.read_text())
    return text.replace("power: Weights = None, channel_axis: int)", "power: Weights = None, channel_axis: int = 0)")


def main() -> None:
    target = Path(sys.argv[1]) / "tensorrt" / "__init__.pyi"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(stubs())


if __name__ == "__main__":
    main()
