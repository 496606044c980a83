# Needs only make and Python 3.11: the first run of a target makes .venv and installs what it needs.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEVELOPMENT := axe-playwright-python import-linter playwright pytest-timeout pytest-xdist ruff
ARGS ?=

.PHONY: run test lint train bench

## make run: start the app and print its address
run: .venv/installed
	$(BIN)/python app.py

## make test: lint, then every test, by two workers; "make test ARGS='-k packing'" for some
test: lint
	$(BIN)/python -m pytest -n 2 $(ARGS)

## make lint: style, and which module may import which
lint: .venv/development
	$(BIN)/ruff check .
	$(BIN)/lint-imports

## make train: make the embedded default again from its seeds, then measure it (goes on where it was stopped)
train: .venv/installed
	$(BIN)/python -m models.embedded.train
	$(BIN)/python -m analysis.forgetting.methods.runs build/train
	$(BIN)/python -m analysis.report

## make bench: run every benchmark in benchmarks/, one after another; each prints its own ratios
bench: .venv/development
	@for file in $(filter-out benchmarks/_%, $(wildcard benchmarks/*.py)); do \
		echo "== $$file"; \
		$(BIN)/python -m benchmarks.$$(basename $$file .py) || exit 1; \
	done

# Torch goes first, by its exact version: left to choose, pip may take a newer build with gigabytes of CUDA.
.venv/installed: requirements.txt constraints.txt Makefile
	@echo "Installing into .venv: some minutes, once"
	$(PYTHON) -m venv .venv
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -r requirements.txt -c constraints.txt
	@touch $@

.venv/development: .venv/installed
	$(PIP) $(DEVELOPMENT) -c constraints.txt
	@touch $@
