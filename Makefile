# Everything a newcomer needs: `make run`, `make test`, `make down`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
KNARR := $(VENV)/bin/knarr
NATIVE := src/knarr/dataplane/_native.abi3.so
RUST_SOURCES := $(shell find dataplane -name '*.rs' -o -name 'Cargo.toml' 2>/dev/null) Cargo.toml
DATA_DIR ?= $(CURDIR)/.cache/knarr

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.packages: pyproject.toml constraints.txt
	@./tools/setup-python.sh $(VENV)
	@touch $@

$(NATIVE): $(VENV)/.packages $(RUST_SOURCES)
	@./tools/build-native.sh $(VENV)
	@touch $@

.PHONY: setup
setup: $(NATIVE) ## virtual environment, Python packages, Rust build, system packages
	@./tools/setup-system.sh

.PHONY: run
run: setup ## set everything up, deploy examples/hello-python, leave Knarr running
	@$(KNARR) demo

.PHONY: down
down: ## end Knarr and remove everything it put outside its data directory
	@if [ -x $(KNARR) ]; then $(KNARR) down; else echo "nothing is installed, nothing to end"; fi

.PHONY: test
test: setup ## every test: unit, property, Rust, contract, end to end
	$(PYTHON) -m pytest tests/unit tests/property -q
	cargo test --quiet
	$(PYTHON) -m pytest tests/contract tests/e2e tests/faults -q

.PHONY: unit
unit: $(NATIVE) ## the tests that need neither root nor network
	$(PYTHON) -m pytest tests/unit tests/property -q

.PHONY: check
check: setup ## linters, types, import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	cargo fmt --all --check
	cargo clippy --all-targets --quiet -- -D warnings

.PHONY: fmt
fmt: ## format Python and Rust
	$(VENV)/bin/ruff check --fix-only --quiet .
	$(VENV)/bin/ruff format --quiet .
	cargo fmt --all

.PHONY: reference
reference: setup ## build kube-apiserver and etcd (ten minutes, once) and compare Knarr with them
	./tests/reference/build.sh
	$(PYTHON) -m pytest tests/reference -q

.PHONY: bench
bench: setup ## gateway, cold start and footprint beside their peers
	$(PYTHON) bench/gateway.py
	$(PYTHON) bench/coldstart.py
	$(PYTHON) bench/footprint.py

.PHONY: wheel
wheel: $(VENV)/.packages ## dist/*.whl, one abi3 wheel that needs no Rust to install
	$(VENV)/bin/maturin build --release --out dist

.PHONY: clean
clean: ## remove what was built (not the data directory)
	rm -rf $(VENV) target dist $(NATIVE) .mypy_cache .ruff_cache .pytest_cache
