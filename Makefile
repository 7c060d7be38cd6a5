# What one does with a clone. Needs make and Python 3.11 or newer; the rest comes, pinned and hashed, into .venv.
# The stamps say what is installed there: a changed requirements file makes them stale.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench lint format translations requirements clean

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -qq
# The pins are the same on every machine: its own pip settings stay out of them.
PIP_COMPILE := env -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND="make requirements" \
	$(BIN)/pip-compile --quiet

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: .venv/run.stamp ## a tour without a printer
	@$(BIN)/relayprobe demo

test: lint ## lint, types and tests; ARGS="-k tls" goes to pytest
	$(BIN)/pytest $(ARGS)

bench: .venv/dev.stamp ## how fast it is
	$(BIN)/python -m tests.bench $(ARGS)

lint: .venv/dev.stamp ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev.stamp ## lay the code out, and fix what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

translations: .venv/dev.stamp ## bring the Italian catalogue up to date with the code, and compile it
	$(BIN)/python -m tests.translations

requirements: .venv/dev.stamp ## write the pins anew; ARGS=--upgrade takes the newest
	$(PIP_COMPILE) $(ARGS) -o requirements/build.txt requirements/build.in
	$(PIP_COMPILE) $(ARGS) --no-build-isolation --extra speed -c requirements/build.txt -o requirements/run.txt pyproject.toml
	$(PIP_COMPILE) $(ARGS) -o requirements/dev.txt requirements/dev.in

clean: ## remove all that was made
	rm -rf .venv build dist demo-data relayprobe-demo *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf tests/clients/node_modules
	find relayprobe tests -name __pycache__ -prune -exec rm -rf {} +

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	@echo "installing what the tests need into .venv"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

.venv/run.stamp: $(BIN)/python requirements/build.txt requirements/run.txt pyproject.toml
	@echo "installing relayprobe into .venv"
	@$(PIP_INSTALL) --require-hashes -r requirements/build.txt
	@$(PIP_INSTALL) --require-hashes --no-build-isolation -r requirements/run.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "relayprobe needs Python 3.11 or newer, and none was found: install it, or say make PYTHON=..." >&2; exit 1; fi
	@if ! $(PYTHON) -c '$(NEW_ENOUGH)'; then \
		echo "relayprobe needs Python 3.11 or newer, and $(PYTHON) is not that" >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$(PYTHON) lacks its venv module: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; fi
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
