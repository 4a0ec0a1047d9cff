# make demo   the whole job on made-up volumes, with a report at the end (about 4 minutes after installation)
# make test   the tests
# make lint   ruff and mypy
# make bench  the quick benchmarks; see Testing/benchmarks/README.md for the long ones
# Each one first makes .venv; the demo with the engine only, the others with what developers need on top.

PYTHON ?= python3
# On Linux, torch from PyPI comes with gigabytes of CUDA libraries. On a machine without an NVIDIA GPU use
#   make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0

BIN := .venv/bin
READY := .venv/.ready
DEVELOPER := .venv/.developer

.PHONY: demo test test-engine test-module test-learning test-scene test-host lint bench clean

demo: $(READY)
	$(BIN)/semisam demo

# The parts run in processes of their own: the engine never sees Slicer, the module never sees torch. They do not
# disturb each other, so `make -j2 test` runs two at a time; the order is the one that ends first.
test: test-engine test-module test-learning test-scene test-host

test-engine: $(DEVELOPER)
	$(BIN)/python -m pytest Testing/engine

test-scene: $(DEVELOPER)
	SEMISAMPLUS_PYTHON=$(CURDIR)/$(BIN)/python $(BIN)/python -m pytest Testing/scene

test-host: $(DEVELOPER)
	$(BIN)/python -m pytest Testing/host_tests

test-module: $(DEVELOPER)
	SEMISAMPLUS_PYTHON=$(CURDIR)/$(BIN)/python $(BIN)/python -m pytest Testing/module -m 'not slow'

# The slow ones, in which the engine learns for real: most of it is waiting.
test-learning: $(DEVELOPER)
	SEMISAMPLUS_PYTHON=$(CURDIR)/$(BIN)/python $(BIN)/python -m pytest Testing/module -m slow

lint: $(DEVELOPER)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(DEVELOPER)
	$(BIN)/python Testing/benchmarks/start_up.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else "Python 3.11 or 3.12 is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -e .
	touch $@

$(DEVELOPER): $(READY)
	$(BIN)/python -m pip install -e '.[dev,host]'
	touch $@
