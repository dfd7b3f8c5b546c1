"""Engines in C++ as contestants: `segdino_bench` of the C++ library runs them, and takes their times itself."""
