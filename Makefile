# The commands of this repository. `make` alone lists them; CI runs `make check` and `make test`, nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done

# Deliberately quiet: what pip has to say about itself helps nobody here.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# Two workers, each with whole files: a file's tests share a node, a PACS or a synthetic patient.
PYTEST_ARGS ?= -n 2 --dist loadfile

.PHONY: help setup demo test check bench bench-hostile bench-accuracy bench-spect fuzz soak format lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with every dependency, by hash, and this project in it

$(STAMP): requirements/dev.lock pyproject.toml requirements/find_python.sh
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
		python="$$(requirements/find_python.sh)"; \
		echo "creating $(VENV) with $$($$python --version)"; \
		"$$python" -m venv --clear $(VENV); \
	fi
	$(PIP) install --quiet --require-hashes -r requirements/dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Send phantom studies through a node on this machine, write demo-out/
	$(BIN)/python run_node.py demo

test: $(STAMP) ## Install the peers where that is allowed, then run every test
	tests/peers.sh
	$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(STAMP) ## Measure receiving beside Orthanc, DCMTK and a C program, write docs/benchmarks/receiving.*
	tests/peers.sh
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

soak: $(STAMP) ## Load for an hour, kill a thousand times, write docs/benchmarks/soak (SOAK_ARGS='--objects 20000 --kills 50')
	$(BIN)/python -m tests.bench.soak $(SOAK_ARGS)

check: $(STAMP) ## Style, types, import contracts, spelling, size budget
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/typos
	$(BIN)/python -m pytest -q -p no:randomly tests/test_architecture.py

bench-hostile: $(STAMP) ## An honest sender under each attack, docs/benchmarks/hostile.md; RUNS=5
	$(BIN)/python -m tests.bench.hostile --runs $(or $(RUNS),5)

fuzz: $(STAMP) ## Fuzz the receiver's readers for SECONDS_EACH=300 (Python < 3.13)
	for target in upper_layer lane header; do \
		$(BIN)/python -m tests.fuzz.$$target -max_total_time=$(or $(SECONDS_EACH),300) -max_len=8192; \
	done

bench-accuracy: $(STAMP) ## Measure scintigraphy on 512 phantoms, write docs/benchmarks/scintigraphy.* (20 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.analyzers.scintigraphy_accuracy --out docs/benchmarks $(ACCURACY_ARGS)

bench-spect: $(STAMP) ## Measure SPECT/CT readings on 60 phantoms (about 20 minutes on an idle machine)
	$(BIN)/python -m tests.analyzers.scintigraphy_spect_accuracy --out docs/benchmarks

format: $(STAMP) ## Let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP) ## Choose the newest versions that work together and write requirements/*.lock
	requirements/lock.sh $(BIN)/uv

clean: ## Remove .venv, caches and the demonstration's output
	rm -rf $(VENV) demo-out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
