"""Measures everything that runs on this machine's NVIDIA GPU: python benchmarks/gpu.py [benchmarks/gpu.toml]"""

import sys

from segdino_deploy.benchmarks.gpu.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
