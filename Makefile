# make demo | make test: each sets up .venv by itself. PYTHON=python3.12 picks the interpreter,
# PYTEST="-k name" adds arguments.
PYTEST ?=
BIN := .venv/bin
CLIP := examples/demo.mp4
# One worker more than there are cores: a quarter of the time a test waits for a server or a process.
# Tests that share a server or an engine are a group, and run in one worker.
WORKERS := --numprocesses $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --maxprocesses 4 --dist loadgroup

.PHONY: help venv demo test quick check tests
help:
	@echo "make demo    ask two questions of $(CLIP)"
	@echo "make test    checks and all tests"
	@echo "make quick   tests without the slow ones"
	@echo "make check   style, types, layers"

venv:
	@PYTHON="$(PYTHON)" .ci/setup tests

demo:
	@PYTHON="$(PYTHON)" .ci/setup demo
	$(BIN)/r4 ask $(CLIP) "What is the p99 latency of the region far-buoy?"
	$(BIN)/r4 ask $(CLIP) "How large is the snapshot of the backup that finished?"

test: check tests

tests: venv
	@.ci/browser
	$(BIN)/python -m pytest $(WORKERS) $(PYTEST)

quick: venv
	$(BIN)/python -m pytest $(WORKERS) -m "not slow" $(PYTEST)

# tools, graphs and training become r4agent.tools, ... on installing. Types and layers are checked on a
# tree of links that has that shape; mypy's paths are turned back into those of the checkout.
TYPED := build/typed/r4agent
check: venv
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	@mkdir -p $(TYPED) && find $(TYPED) -xtype l -delete
	@cd $(TYPED) && ln -sfn ../../../r4agent/* ../../../tools ../../../graphs ../../../training .
	@echo "mypy, import-linter (in $(TYPED))"
	@cd build/typed && set -o pipefail && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml \
		--cache-dir ../../.mypy_cache -p r4agent | sed -E 's#^r4agent/(tools|graphs|training)/#\1/#'
	@cd build/typed && ../../$(BIN)/lint-imports --config ../../pyproject.toml --cache-dir ../../.import_linter_cache
check: SHELL := bash
