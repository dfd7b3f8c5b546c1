"""Our int8 engine, the strongest peer's and PyTorch eager: `python -m segdino_deploy.benchmarks.int8 SUITE`."""
