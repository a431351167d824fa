# `make` alone lists the targets. Every target does its own set-up (tools/setup.sh).

BIN := .venv/bin
# How many labs run at once; 0 runs the scenarios one after another.
WORKERS ?= $(shell tools/setup.sh workers)
# More options, for pytest or for the bench: make scenarios ARGS="--cilium-version 1.18.0 -k policy"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup build scenarios test go-test lint format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what this machine lacks, and the Python packages into .venv
	@tools/setup.sh

build: setup ## build the labs' programs: once, about ten minutes on two cores
	@$(BIN)/lblab build

scenarios: build ## run the scenarios in embedded labs; ARGS="..." goes to pytest
	$(BIN)/pytest scenarios/ -n $(WORKERS) $(ARGS)

test: build ## run lblab's own tests; ARGS="..." goes to pytest
	$(BIN)/pytest tests/ $(ARGS)

go-test: setup ## run the unit tests of lblab's own Go programs
	$(BIN)/python tools/go_modules.py test

lint: setup ## ruff, mypy, gofmt and go vet
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/go_modules.py lint

format: setup ## let ruff write what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: build ## measure lblab itself against its bars; ARGS="--runs 3 --json FILE"
	$(BIN)/python -m bench $(ARGS)

clean: ## remove what make and the tools left in this folder
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist lblab.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "The labs' programs stay in $${XDG_CACHE_HOME:-$$HOME/.cache}/lblab, and what Go compiled in its own caches."
	@echo "To remove them too: rm -rf $${XDG_CACHE_HOME:-$$HOME/.cache}/lblab; go clean -cache -modcache"
