# README's two commands are `make run` and `make test`; each sets up what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow lint format lock clean distclean

UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
READY := .venv/.ready
LINTED := pipeline components models edge kubeflow tests benchmarks setup.py
# Their startup chatter is about hardware that is not there; real errors still show.
export TF_CPP_MIN_LOG_LEVEL ?= 2

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Fetch the tool chain and the locked environment into .tools/ and .venv/

run: $(READY) ## Draw the built-in sample and run the whole pipeline on it
	$(BIN)/coronet sample sample
	$(BIN)/coronet run --data sample --preset sample --output run

test: $(READY) lint ## Lint, type check and run every test
	$(BIN)/pytest

test-slow: $(READY) ## Run the tests that CI has no time for
	$(BIN)/pytest -m slow

lint: $(READY) ## Lint and type check
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix $(LINTED)
	$(BIN)/ruff format $(LINTED)

lock: $(UV) ## Resolve requirements.in into the hashed requirements.lock
	$(UV) --directory . pip compile --universal --generate-hashes --python-version 3.10 \
	  --no-emit-index-url --no-annotate -q requirements.in -o requirements.lock

# uv comes from the package index, into a folder of its own.
$(UV):
	python3 .ci/bootstrap_uv.py $(UV_VERSION) .tools

# `.python-version` chooses the interpreter: an installed 3.10, else uv fetches one.
$(READY): $(UV) requirements.lock pyproject.toml setup.py
	$(UV) --directory . venv -q --allow-existing .venv
	$(UV) --directory . pip sync -q --python .venv requirements.lock
	$(UV) --directory . pip install -q --python .venv --no-deps --no-build-isolation -e .
	touch $@

clean: ## Remove what runs and tests wrote
	rm -rf run sample .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info

distclean: clean ## Also remove the environment
	rm -rf .venv .tools
