# Two commands set everything up on a fresh machine: `make` explains a photograph, `make test` runs the tests.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
LOWEST := .venv-lowest/ready
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

explain: $(READY) ## explain a photograph and print the path of the picture
	@$(BIN)/python examples/first_picture.py

test: $(READY) ## the tests that run in minutes, after format, lint and types
	@$(BIN)/ruff format --check src tests examples benchmarks docs/look
	@$(BIN)/ruff check src tests examples benchmarks docs/look
	@$(BIN)/mypy
	@$(PYTEST) -m "not slow"

test-slow: $(READY) ## the tests that take longer
	@$(PYTEST) -m slow

test-lowest: $(LOWEST) ## the tests that run in minutes, with the lowest versions that pyproject.toml allows
	@.venv-lowest/bin/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal -W default -m "not slow"

bench: $(READY) ## speed and memory beside other libraries
	@$(BIN)/wherefore bench

docs: $(READY) ## the documentation as a site, site/index.html; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo site/index.html

format: $(READY) ## put the code into form
	@$(BIN)/ruff format src tests examples benchmarks docs/look
	@$(BIN)/ruff check --fix src tests examples benchmarks docs/look

# uv inside the environment resolves quickly; the constraints pin every version that the tests ran with.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[dev,bench]"
	@touch $@

# What the tests need beside the extras is the newest; it warns of what has gone out of use, which is no error here.
$(LOWEST): pyproject.toml constraints-lowest.txt $(READY)
	@$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	@$(BIN)/python -m uv pip install --quiet --python .venv-lowest/bin/python --constraint constraints-lowest.txt \
		--editable ".[all]" pytest pytest-xdist hypothesis krippendorff accelerate lightning \
		"gymnasium[classic-control]" tensorboard playwright
	@touch $@

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

.DEFAULT_GOAL := explain
.PHONY: explain test test-slow test-lowest bench docs format help
