# blindtune. Each target does its own set-up, and is quick the second time. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON := .deps/venv/bin/python
BIN := target/debug/blindtune
SDK := sdk/python

.PHONY: help setup build demo test test-rust test-sdk lint format serve fixtures openapi sdk sqlx-prepare bench-overhead clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: ## fetch and lay out everything the other targets need
	@scripts/setup/rust.sh
	@scripts/setup/venv.sh
	@scripts/setup/libtorch.sh
	@scripts/setup/postgres.sh
	@scripts/setup/minilm.sh

build: setup ## build the host
	@echo "[build] the host (the first time takes some minutes: it compiles the bindings of LibTorch)" >&2
	@cargo build --locked

demo: build ## train a private classifier over HTTP: table, picture and report in var/demo (DATA=folder for your own)
	@$(PYTHON) examples/demo/demo.py

serve: build ## run a host on http://127.0.0.1:8080 with the MiniLM backbone added
	@scripts/serve.sh

test: build test-rust test-sdk ## run all tests

test-rust: build
	@cargo test --locked

test-sdk: build
	@cd $(SDK) && BLINDTUNE_BIN="$(CURDIR)/$(BIN)" BLINDTUNE_MINILM="$(CURDIR)/.deps/all-MiniLM-L6-v2" "$(CURDIR)/$(PYTHON)" -m pytest
	@cd examples/demo && "$(CURDIR)/$(PYTHON)" -m pytest -q

lint: build ## check format, clippy, types
	@cargo fmt --check
	@cargo clippy --locked --all-targets -- -D warnings
	@cd $(SDK) && "$(CURDIR)/$(PYTHON)" -m ruff check . && "$(CURDIR)/$(PYTHON)" -m ruff format --check . && "$(CURDIR)/$(PYTHON)" -m mypy
	@$(PYTHON) -m ruff check --config $(SDK)/pyproject.toml examples benches scripts && $(PYTHON) -m ruff format --check --config $(SDK)/pyproject.toml examples benches scripts
	@cd examples/demo && "$(CURDIR)/$(PYTHON)" -m mypy --strict --ignore-missing-imports *.py

format: setup ## format everything
	@cargo fmt
	@cd $(SDK) && "$(CURDIR)/$(PYTHON)" -m ruff format . && "$(CURDIR)/$(PYTHON)" -m ruff check --fix .

fixtures: setup ## make the golden files again, with transformers and PEFT (an environment of 5 GB)
	@scripts/fixtures/run.sh

openapi: build ## write openapi.yaml from the code
	@$(BIN) openapi > openapi.yaml

sdk: openapi ## generate the SDK's core from openapi.yaml
	@$(PYTHON) $(SDK)/tools/generate.py openapi.yaml $(SDK)/src/blindtune/_generated

sqlx-prepare: setup ## check every query against the migrated schema and write .sqlx
	@scripts/sqlx-prepare.sh

bench-overhead: build ## time of a one-token forward over HTTP less the engine's own time
	@$(PYTHON) benches/overhead.py

clean: ## remove what was built and what the hosts stored; downloads stay in the cache
	rm -rf target var .deps
