"""Everything that runs a model on an NVIDIA GPU, side by side: `python benchmarks/gpu.py benchmarks/gpu.toml`."""
