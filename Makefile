# `make run` and `make test` are each enough on a fresh machine: they set up .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup run test check benchmark docs
setup: .venv/.done

# torch first: left to a dependency, pip would take another build of it
.venv/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

run: setup
	$(BIN)/ramac

# RAMAC_CASES=330 make test: 330 cases of random bad input of each kind instead of 60, all recipes and hostile contents
test: setup
	$(BIN)/pytest --numprocesses 2 --dist worksteal --durations 15

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

# a quarter of an hour on an idle machine; --short takes a minute: .venv/bin/python -m benchmarks --short
benchmark: setup
	$(BIN)/python -m benchmarks

# needs no network once .venv is there
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo 'Open site/index.html in a browser'
