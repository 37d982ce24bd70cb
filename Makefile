# README's two commands are `make run` and `make test`; each sets up what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# `make model`: the labelled images, where to work, and an interpreter with PyTorch.
DATA ?=
WORK ?= model
TORCH_PYTHON ?= .tools/torch/bin/python
.PHONY: help setup run model test test-slow lint format lock clean distclean

UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
READY := .venv/.ready
TORCH_READY := .tools/torch/.ready
TORCH_REQUIREMENTS := pipeline/experiments/best_model/requirements.txt
LINTED := pipeline components models edge kubeflow tests benchmarks setup.py
# Their startup chatter is about hardware that is not there; real errors still show.
export TF_CPP_MIN_LOG_LEVEL ?= 2

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Fetch the tool chain and the locked environment into .tools/ and .venv/

run: $(READY) ## Draw the built-in sample and run the whole pipeline on it
	$(BIN)/coronet sample sample
	$(BIN)/coronet run --data sample --preset sample --output run

# Before PyTorch is fetched in vain.
ifeq ($(filter model,$(MAKECMDGOALS))$(DATA),model)
$(error usage: make model DATA=folder-of-X-rays [WORK=model])
endif
# Trained without one fold of patients, on which it then faces the gate of the usual pipeline.
# Run again after it was stopped, it goes on: finished stages are kept, nodes are cached.
model: $(READY) $(if $(filter .tools/%,$(TORCH_PYTHON)),$(TORCH_READY)) ## Rebuild our best CORONet from DATA=folder and push its bundle
	FOLD=0 pipeline/experiments/best_model/run.sh "$(DATA)" "$(WORK)" "$(abspath $(TORCH_PYTHON))"
	$(BIN)/python -m pipeline.experiments.held_out --data "$(DATA)" --fold 0 --output "$(WORK)/splits.csv"
	$(BIN)/coronet run --data "$(DATA)" --preset best --output "$(WORK)/run" \
	  --set coronet.pretrained="$(abspath $(WORK))/coronet.keras" \
	  --set data.split_file="$(abspath $(WORK))/splits.csv"

test: $(READY) lint ## Lint, type check and run every test
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

test-slow: $(READY) ## Run the tests that CI has no time for
	$(BIN)/pytest -m slow

lint: $(READY) ## Lint and type check
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix $(LINTED)
	$(BIN)/ruff format $(LINTED)

COMPILE := $(UV) --directory . pip compile --universal --generate-hashes --python-version 3.10 \
	--no-emit-index-url --no-annotate -q
lock: $(UV) ## Resolve the requirements into hashed locks
	$(COMPILE) requirements.in -o requirements.lock
	$(COMPILE) $(TORCH_REQUIREMENTS) -o requirements-torch.lock

# uv comes from the package index, into a folder of its own.
$(UV):
	python3 .ci/bootstrap_uv.py $(UV_VERSION) .tools

# `.python-version` chooses the interpreter: an installed 3.10, else uv fetches one.
$(READY): $(UV) requirements.lock pyproject.toml setup.py
	$(UV) --directory . venv -q --allow-existing .venv
	$(UV) --directory . pip sync -q --python .venv requirements.lock
	$(UV) --directory . pip install -q --python .venv --no-deps --no-build-isolation -e .
	touch $@

# Only `make model` needs it: PyTorch trains CORONet on a CPU twice as fast as Keras does.
$(TORCH_READY): requirements-torch.lock | $(UV)
	$(UV) --directory . venv -q --allow-existing .tools/torch
	$(UV) --directory . pip sync -q --python .tools/torch requirements-torch.lock
	touch $@

clean: ## Remove what runs and tests wrote
	rm -rf run sample .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info edge/build edge/*.egg-info

distclean: clean ## Also remove the environment, and the model that took hours
	rm -rf .venv .tools model
