"""Stands in for `segdino_bench`: speaks its protocol (cpp/bench/serve.hpp), and computes colours as classes.

Run as a program, with the engine's name for how it behaves: see `BEHAVIOURS`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

GREETING = {"program": "segdino_bench", "protocol": 1, "version": "9.9", "backends": ["openvino"], "image_files": "stb"}
BEHAVIOURS = {
    "sound": "answers",
    "absent": "says that a component is missing, in place of opening",
    "dies": "is killed by its first run",
    "garbled": "answers its first run with what is no JSON",
    "short": "announces more bytes than it sends, and ends",
    "refuses": "answers every run with an error, and goes on",
}


def write_program(folder: Path, greeting: dict[str, object] | None = None, tail: str = "") -> Path:
    """An executable file. `greeting`: another one; `tail`: Python that runs before anything else."""
    path = folder / "segdino_bench"
    path.write_text(
        f"#!{sys.executable}\n"
        f"import sys\nsys.path[:0] = {sys.path!r}\n{tail}\n"
        "from tests.benchmarks.native import fake_program\n"
        f"fake_program.main(sys.argv[1:], {greeting or GREETING!r})\n"
    )
    path.chmod(0o755)
    return path


def main(words: list[str], greeting: dict[str, object]) -> None:
    _say(greeting)
    if "--version" in words:
        return
    behaviour = words[words.index("--engine") + 1]
    if behaviour == "absent":
        _say(
            {
                "error": "OpenVINO was left out of this build",
                "kind": "MissingComponent",
            }
        )
        return
    _say({"engine": behaviour, "backend": "openvino", "precision": "fp32", "device": "a CPU"})
    sys.stderr.write("a library talks\n")
    sys.stderr.flush()
    for text in sys.stdin.buffer:
        line = json.loads(text)
        images = np.frombuffer(sys.stdin.buffer.read(line.get("bytes", 0)), np.uint8)
        if line["do"] == "quit":
            return
        _answer(line, images, behaviour)


def _answer(line: dict[str, Any], images: np.ndarray, behaviour: str) -> None:
    if line["do"] == "run":
        if behaviour == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "refuses":
            _say({"error": "openvino fp32 engine failed: no memory", "kind": "EngineError"})
            return
        image = images.reshape(line["batch"], 16, 32, 3)
        logits = image.transpose(0, 3, 1, 2).astype(np.float32) / 2
        _arrays({"mask": logits.argmax(axis=1).astype(np.uint8), "logits": logits}, behaviour)
    elif line["do"] == "turn":
        stages = {"decode_ms": 1.0, "resize_ms": 2.0, "run_ms": 3.0, "resize_back_ms": 4.0}
        _say({"engine_only_ms": line["round"] + 0.5, "with_copies_ms": line["round"] + 1.0, "file": stages})
    elif line["do"] == "throughput":
        calls = [[index * 0.1, index * 0.1 + 0.1] for index in range(20)]
        _say({"calls": [calls] * line["callers"]})
    else:
        _say({})


def _arrays(arrays: dict[str, np.ndarray], behaviour: str) -> None:
    described = [{"name": name, "type": str(a.dtype), "shape": list(a.shape)} for name, a in arrays.items()]
    payload = b"".join(array.tobytes() for array in arrays.values())
    if behaviour == "garbled":
        sys.stdout.buffer.write(b"[I] a library talks\n")
        sys.stdout.buffer.flush()
        return
    _say({"arrays": described, "bytes": len(payload) + (behaviour == "short")}, payload)
    if behaviour == "short":
        raise SystemExit(3)


def _say(line: dict[str, object], payload: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n" + payload)
    sys.stdout.buffer.flush()
