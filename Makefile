# Two commands: `make up` runs everything, `make test` passes the tests. Both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pytake workflows activities api worker.py tests

.PHONY: up setup test check bench chaos format lock clean
.DEFAULT_GOAL := up

up: setup ## set up and run everything (ARGS="--port 9000" for options)
	@exec $(BIN)/pytake up $(ARGS)

setup: $(VENV)/.installed ## create the environment from the lock file

# The stamp depends on the lock file: a new lock is installed, an old one is not touched.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PyTake needs Python 3.11 or newer: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing from requirements.lock ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: setup ## run the tests
	$(BIN)/python -m tests

check: setup ## format, lint, types, import rule, tests
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

bench: setup ## measure; a table, and JSON in .pytake/bench.json (ARGS="rules" for a part)
	$(BIN)/python -m tests.bench $(ARGS)

chaos: setup ## faults against the real processes (ARGS="--seed 7" repeats a run)
	$(BIN)/python -m tests.chaos $(ARGS)

format: setup ## format and sort imports
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

lock: ## renew requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" -o requirements.lock

clean: ## remove the environment (state in .pytake stays)
	rm -rf $(VENV) build *.egg-info
