"""Plain export against folded export: `python -m segdino_deploy.benchmarks.graph benchmarks/graph.toml`."""
