# blindtune. Each target does its own set-up, and is quick the second time. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON := .deps/venv/bin/python
BIN := target/debug/blindtuned
# Makes a release, and uses it.
TRY_RELEASE := release=$$(scripts/release.sh) && cd tests/release && RELEASE="$$release" "$(CURDIR)/$(PYTHON)" -m pytest
# What benches measure.
RELEASE := BLINDTUNE_BIN="$(CURDIR)/target/release/blindtuned"
SDK := sdk/python
IN_CONSOLE := cd console && export PATH="$(CURDIR)/.deps/console-node/bin:$$PATH"

.PHONY: help setup build build-release release demo demo-seeds test test-tools test-rust test-sdk test-demo test-dist test-release test-portable test-luck docs docs-settings docs-site test-torch test-bench test-openai test-api-contract test-generator test-console test-observability console lint-console fuzz-api lint lint-api audit-deps format serve fixtures openapi contract-baseline sdk locks sqlx-prepare bench bench-gpu gpu-kit gpu-kit-smoke bench-nf4 bench-products bench-overhead bench-features soak faults load load-fair load-watched science science-side clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: ## fetch and lay out everything the other targets need
	@scripts/setup/rust.sh
	@scripts/setup/venv.sh
	@scripts/setup/libtorch.sh
	@scripts/setup/postgres.sh
	@scripts/setup/minilm.sh

build: setup ## build the host
	@echo "[build] the host (the first time takes some minutes: it compiles the bindings of LibTorch)" >&2
	@cargo build --locked

build-release: setup ## build the host as it is deployed and measured (target/release; takes several times as long)
	@cargo build --release --locked

release: build-release ## a tarball of the host with LibTorch and Postgres in var/release, tried in an empty folder: needs no Rust to run
	@$(TRY_RELEASE)

demo: build ## train a private classifier over HTTP: table, picture and report in var/demo (DATA=folder for your own)
	@$(PYTHON) examples/demo/demo.py

demo-seeds: build ## the p3eft part of the demo under twenty secrets, each held to the demo's bars (SEEDS=)
	@$(PYTHON) examples/demo/seeds.py

serve: build ## run a host on http://127.0.0.1:8080 with the MiniLM backbone added
	@scripts/serve.sh

test: ## run all tests, whatever fails on the way, and end with a table (PARTS="rust sdk" for some; logs in var/test)
	@python3 scripts/run_tests.py $(PARTS)

test-tools: setup # the scripts: how tests run, dependencies, the docs' site, that versions agree, and that the contract breaks nobody unsaid
	@scripts/setup/docs.sh
	@cd scripts/tests && "$(CURDIR)/$(PYTHON)" -m pytest

test-rust: build
	@cargo test --locked --no-fail-fast

# Two at once: a test and its host keep about one core busy, and each worker has hosts of its own.
test-sdk: build
	@cd $(SDK) && BLINDTUNE_BIN="$(CURDIR)/$(BIN)" BLINDTUNE_MINILM="$(CURDIR)/.deps/all-MiniLM-L6-v2" "$(CURDIR)/$(PYTHON)" -m pytest --numprocesses 2 --dist worksteal

test-demo: setup
	@cd examples/demo && "$(CURDIR)/$(PYTHON)" -m pytest -q

test-release: build # the development build, laid out as a release, where there is nothing else
	@export RELEASE_PROFILE=dev; $(TRY_RELEASE)

test-portable: setup ## the numeric tests as other processors run them, with 1 and 2 threads (ROWS="blas onednn-AVX2" for some; SHORT=1)
	@python3 scripts/portable.py $(ROWS)

test-luck: build ## the SDK's tests under ROUNDS=12 secrets: which of their verdicts are nearer to a constant than four deviations (TESTS=... for some)
	@$(PYTHON) scripts/luck.py

test-dist: setup ## the SDK's wheel and sdist in clean environments, on each Python from 3.10 to 3.13 that is here
	@scripts/test-dist.sh

docs: setup ## the SDK's reference from its docstrings, in var/docs/sdk
	@rm -rf var/docs/sdk && cd $(SDK) && PYTHONPATH=src "$(CURDIR)/$(PYTHON)" tools/docs.py "$(CURDIR)/var/docs/sdk"

docs-site: docs ## the documentation as a site with search, in var/docs/site: opens from the folder, asks nobody
	@scripts/setup/docs.sh
	@.deps/docs/bin/python scripts/docs/docs_site.py var/docs/pages var/docs/site --sdk var/docs/sdk

docs-settings: setup ## write docs/settings.md from the SDK's settings and config/default.toml
	@$(PYTHON) scripts/docs/settings_page.py

test-torch: build ## the PyTorch bridge, its gradcheck on real hosts, ladder networks, and PEFT loading an export (about 5 GB the first time)
	@scripts/setup/peft.sh
	@cd $(SDK) && PYTHONPATH=src BLINDTUNE_BIN="$(CURDIR)/$(BIN)" BLINDTUNE_MINILM="$(CURDIR)/.deps/all-MiniLM-L6-v2" "$(CURDIR)/.deps/peft/bin/python" -m pytest -p no:cacheprovider tests/test_torch.py tests/test_side_ladder.py tests/test_transcripts.py tests/real/test_torch.py tests/real/test_export.py tests/real/test_adapters_peft.py

test-bench: build # the short forms of the benches: exactness, not timing
	@cd benches && BLINDTUNE_BIN="$(CURDIR)/$(BIN)" "$(CURDIR)/$(PYTHON)" -m pytest -q -p no:cacheprovider --numprocesses 2 --dist worksteal

test-openai: build ## the stock openai package, 1.x, 2.x and 3.x, sync and async, against a real host: a table of call x version
	@scripts/setup/openai.sh
	@PYTHONPATH=tests/support BLINDTUNE_BIN="$(CURDIR)/$(BIN)" $(PYTHON) tests/openai/run.py

test-api-contract: build # the short form of fuzz-api, with one seed, so that it fails for a change and not by chance
	@scripts/setup/schemathesis.sh
	@[ ! -x .deps/schemathesis/bin/python ] || PYTHONPATH=tests/support BLINDTUNE_BIN="$(CURDIR)/$(BIN)" .deps/schemathesis/bin/python tests/contract/fuzz.py 120 --seed 5

test-generator: build # a client that openapi-generator wrote drives a job
	@scripts/setup/generator.sh
	@cd tests/contract && BLINDTUNE_BIN="$(CURDIR)/$(BIN)" "$(CURDIR)/.deps/generator/bin/python" -m pytest

test-console: build ## the console and the run board in Chromium against a real host (Debian's is installed where the account may)
	@scripts/setup/console.sh
	@$(IN_CONSOLE) && npx --no-install vitest run --reporter=dot
	@cd tests/console && BLINDTUNE_BIN="$(CURDIR)/$(BIN)" BLINDTUNE_MINILM="$(CURDIR)/.deps/all-MiniLM-L6-v2" "$(CURDIR)/.deps/console/bin/python" -m pytest

test-observability: build ## alarms and board, by promtool and a real Prometheus that reads a real host
	@scripts/setup/prometheus.sh
	@cd tests/observability && BLINDTUNE_BIN="$(CURDIR)/$(BIN)" "$(CURDIR)/$(PYTHON)" -m pytest

fuzz-api: build ## try the contract on a real host for ten minutes, with every check of schemathesis
	@scripts/setup/schemathesis.sh
	@PYTHONPATH=tests/support BLINDTUNE_BIN="$(CURDIR)/$(BIN)" .deps/schemathesis/bin/python tests/contract/fuzz.py 600

lint: build lint-api lint-console ## check format, clippy, types, the contract
	@cargo fmt --check
	@cargo clippy --locked --all-targets -- -D warnings
	@cd $(SDK) && "$(CURDIR)/$(PYTHON)" -m ruff check . && "$(CURDIR)/$(PYTHON)" -m ruff format --check . && "$(CURDIR)/$(PYTHON)" -m mypy && "$(CURDIR)/$(PYTHON)" tools/unasync.py --check
	@$(PYTHON) -m ruff check --config $(SDK)/pyproject.toml examples benches scripts tests && $(PYTHON) -m ruff format --check --config $(SDK)/pyproject.toml examples benches scripts tests
	@cd examples/demo && "$(CURDIR)/$(PYTHON)" -m mypy --strict --ignore-missing-imports *.py
	@$(PYTHON) scripts/supply_chain.py

lint-console: setup # types of console and board, and that their bundles are what the sources build to
	@scripts/setup/console.sh packages
	@scripts/check_console.sh

audit-deps: setup ## licences, copies and sources of all dependencies, and what is known against them, where a registry tells
	@$(PYTHON) scripts/supply_chain.py
	@scripts/audit/audit.sh

lint-api: setup ## lint openapi.yaml
	@scripts/setup/redocly.sh
	@.deps/api-tools/node .deps/api-tools/node_modules/@redocly/cli/bin/cli.js lint --config scripts/api-tools/redocly.yaml --format stylish openapi.yaml

format: setup ## format everything
	@cargo fmt
	@cd $(SDK) && "$(CURDIR)/$(PYTHON)" -m ruff format . && "$(CURDIR)/$(PYTHON)" -m ruff check --fix .

fixtures: setup ## make the golden files again, with transformers and PEFT (an environment of 5 GB)
	@scripts/fixtures/run.sh

openapi: build ## write openapi.yaml from the code
	@$(BIN) openapi > openapi.yaml

contract-baseline: setup ## keep openapi.yaml as the contract of the version in its changelog section: later breaking changes need a note
	@$(PYTHON) scripts/contract_changes.py --renew

console: openapi ## write the console's types from openapi.yaml, and both bundles (console/dist, the SDK's board) from their sources
	@scripts/setup/console.sh packages
	@$(IN_CONSOLE) && npm run --silent check && npm run --silent build

sdk: openapi ## generate the SDK's operations and answers from openapi.yaml, and its client that blocks from the one for asyncio
	@$(PYTHON) $(SDK)/tools/generate.py openapi.yaml
	@$(PYTHON) $(SDK)/tools/unasync.py

locks: ## write the SHA-256 of each pinned Python package into the lists that set-up installs from
	@scripts/locks.sh

sqlx-prepare: setup ## check every query against the migrated schema and write .sqlx
	@scripts/sqlx-prepare.sh

bench: build-release ## the host over HTTP against transformers + PEFT in-process (CASES=, ROUNDS=, THREADS=; SHORT=1 without PEFT)
	@[ "$${SHORT:-0}" != 0 ] || scripts/setup/peft.sh
	@$(RELEASE) $(PYTHON) benches/bench.py

bench-gpu: build-release ## the same on a CUDA device: tokens/s and share of peak at 7B (GPU_SMOKE=1 tries the harness without one)
	@scripts/setup/peft.sh
	@$(RELEASE) $(PYTHON) benches/gpu.py

gpu-kit: setup ## a folder under 60 MiB that checks and measures the host on a bare machine with a card (docs/gpu-kit.md)
	@scripts/gpu-kit.sh

gpu-kit-smoke: build ## the kit on the CPU, with tiny shapes, from an empty environment (about 5 GB the first time)
	@scripts/gpu-kit-smoke.sh

bench-overhead: build-release ## time of a one-token forward over HTTP less the engine's own time
	@$(RELEASE) $(PYTHON) benches/overhead.py

bench-features: build-release ## hidden states of all levels over HTTP against transformers in-process (ROWS=, ROUNDS=, DATA=; 5 GB)
	@scripts/setup/peft.sh
	@$(RELEASE) $(PYTHON) benches/features.py

bench-nf4: build-release ## memory of a LLaMA-2-7B-shaped backbone in 4 bits (LAYERS=; writes 13 GB for a while)
	@$(RELEASE) $(PYTHON) benches/fourbit.py

bench-products: setup ## products of a frozen layer by BLAS, oneDNN and oneDNN on packed weights
	@scripts/setup/peft.sh
	@.deps/peft/bin/python benches/products.py

science: build-release ## SST-2 with MiniLM, method by method, attacked: benches/results/science.json (DATA=, MINUTES=75; resumable)
	@$(RELEASE) $(PYTHON) benches/science.py
	@$(RELEASE) $(PYTHON) benches/inversion.py
	@$(PYTHON) scripts/privacy_page.py

science-side: build-release ## SST-2 by method side, features once and many runs at home: benches/results/side.json (DATA=, SETS=sst2,rte, SEEDS=, ONLY=; PyTorch, 5 GB)
	@scripts/setup/peft.sh
	@PYTHONPATH=$(SDK)/src $(RELEASE) .deps/peft/bin/python benches/side.py

load: build ## 500 control requests a second for a minute, without and with 1,000 event listeners; ten times what the host can do (LOAD_SECONDS=)
	@cargo test --locked --test load -- --ignored --nocapture --test-threads 1 five_hundred overloaded

faults: build ## what the host must survive, fault by fault, as a table (IDS="F1 H5" for some)
	@$(PYTHON) scripts/faults.py $(IDS)

load-fair: build ## a light tenant's times alone and beside one that saturates the device (LOAD_SECONDS=)
	@cargo test --locked --test load -- --ignored --nocapture light_tenant

load-watched: build ## the same requests at a host that is watched (metrics read, traces and logs sent) and at one that is not, in turn (LOAD_SECONDS=)
	@cargo test --locked --test load -- --ignored --nocapture a_watched

soak: build-release ## memory over 10,000 steps (STEPS=), after resting
	@$(RELEASE) $(PYTHON) benches/soak.py

clean: ## remove what was built and what the hosts stored; downloads stay in the cache
	rm -rf target var .deps
