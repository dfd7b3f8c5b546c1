"""Latency and accuracy of engines, beside the PyTorch reference."""
