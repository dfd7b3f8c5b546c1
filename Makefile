# make demo    the whole path on the packaged example, into ./demo.segdino
# make test    style, types and tests
# make results regenerates benchmarks/RESULTS.md, GRAPH.md, GPU.md and SCALE.md from benchmarks/results
# Each makes .venv and installs what it needs first. Nothing but Python 3.10+ and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := segdino_deploy tests examples benchmarks

.PHONY: demo test results clean

demo: $(VENV)/installed-all
	$(BIN)/segdino-deploy demo

test: $(VENV)/installed-test
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/python -m tests.typings .typings
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

results: $(VENV)/installed-all
	$(BIN)/python -m segdino_deploy.benchmarks.report.tables benchmarks/results > benchmarks/RESULTS.md
	$(BIN)/python -m segdino_deploy.benchmarks.graph.report benchmarks/results/graph > benchmarks/GRAPH.md
	$(BIN)/python -m segdino_deploy.benchmarks.gpu.report benchmarks/results/gpu > benchmarks/GPU.md
	$(BIN)/python -m segdino_deploy.benchmarks.scale.report benchmarks/results/scale > benchmarks/SCALE.md

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-all: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints.txt -e '.[all]'
	touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints.txt -e '.[all,test]'
	$(PIP) install --quiet -c constraints.txt --no-deps tensorrt-stubs # which asks for TensorRT itself
	touch $@ $(VENV)/installed-all

clean:
	rm -rf $(VENV) demo.segdino demo-predictions
