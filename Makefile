# One door to every language's tools. `make help` lists the verbs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
BUF := .tools/node_modules/.bin/buf
MEMBERS := proto rendezvous sdk-python router
READY := $(VENV)/.ready
CONFORMANCE := $(BIN)/rendezvous conformance probe/model --json --run
# The languages beside Python, see toolchains/: all for the tests, two for the demo.
LANGUAGES ?= java r go node cpp rust
DEMO_LANGUAGES ?= java r
# What only the tests need: Jaeger and a collector, built with Go; Prometheus and a Docker engine, from Debian; a public
# client of the Open Inference Protocol in an environment of its own.
TEST_TOOLS ?= jaeger prometheus containers tritonclient
# Model processes share the cores with everything else here; one BLAS or OpenMP thread each.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help
help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(READY) ## Install everything into .venv (done by the others when needed)

$(READY): requirements.lock $(MEMBERS:%=%/pyproject.toml) | python-is-new-enough
	@echo "Setting up $(VENV) (a minute on a new machine) ..."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv --system-certs pip install --quiet --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --offline --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $@

.PHONY: python-is-new-enough
python-is-new-enough:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found: install python3.11 and python3.11-venv."; exit 1; }
	@"$(PYTHON)" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer with its venv module is needed; $$($(PYTHON) --version) at $(PYTHON) will not do. Debian: apt-get install python3-venv; or: make PYTHON=/path/to/python3.11"; exit 1; }

.PHONY: languages
languages: $(READY) ## Build the R and Java SDKs and the examples in other languages; installs what they need, as root on Debian
	@$(BIN)/python -m toolchains prepare $(LANGUAGES)

.PHONY: demo
demo: $(READY) ## Train, start everything, score 300 applicants, hang the champion, explain, stop
	@$(BIN)/python -m toolchains prepare $(DEMO_LANGUAGES)
	@$(BIN)/python -m examples.credit.demo

.PHONY: up
up: $(READY) ## Start the credit example and stay up until Ctrl-C
	@$(BIN)/python -m toolchains prepare $(DEMO_LANGUAGES)
	@$(BIN)/python -m examples.credit.train
	@$(BIN)/rendezvous up --project "$$($(BIN)/python -m examples.credit.elsewhere)"

.PHONY: polyglot
polyglot: languages ## One endpoint, seven languages: shows who answered
	@$(BIN)/python examples/any-language/polyglot.py

.PHONY: test
test: languages ## Run every test, in every language, against real servers and processes
	@$(BIN)/python -m toolchains prepare $(TEST_TOOLS)
	@$(BIN)/python -m toolchains test $(LANGUAGES)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: check
check: $(READY) $(BUF) ## Format, lint, types, protocol lint, generated files up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy toolchains
	$(BIN)/mypy compose/observability
	$(BUF) lint proto
	$(BUF) breaking proto --against ".git#ref=$$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse HEAD),subdir=proto"
	$(BIN)/python proto/generate.py --check
	$(BIN)/python proto/document.py --check
	$(BIN)/python rendezvous/generate.py --check
	$(BIN)/python proto/vectors/make_vectors.py --check
	$(BIN)/python router/document.py --check
	$(BIN)/python -m compose.observability --check
	sdk-r/tools/check_proto.sh

.PHONY: format
format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: proto
proto: $(READY) ## Generate the Python messages, the schema and the tables of the docs
	$(BIN)/python proto/generate.py
	$(BIN)/python proto/document.py
	$(BIN)/python rendezvous/generate.py

.PHONY: features
features: languages ## Run the conformance kit on each SDK and write docs/features.md
	$(CONFORMANCE) "$(BIN)/python -m rendezvous_sdk.probe" | $(BIN)/python router/document.py --keep python
	$(CONFORMANCE) "java -jar sdk-java/probe/target/rendezvous-probe.jar" | $(BIN)/python router/document.py --keep java
	R_LIBS=.tools/r-library $(CONFORMANCE) "Rscript -e rendezvous::rdv_probe()" \
	  --known-failures sdk-r/conformance-known-failures.yaml | $(BIN)/python router/document.py --keep r
	$(BIN)/python router/document.py

FUZZ_SECONDS ?= 300
.PHONY: fuzz
fuzz: $(READY) ## Search for inputs that break parsers and doors, for FUZZ_SECONDS (300); `make test` does a short run
	@$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

.PHONY: bench
bench: languages ## Measure against a bare echo, direct calls, a fan-out and MLServer, then each SDK (about 18 minutes)
	@$(BIN)/python -m bench $(BENCH_ARGS)
	@$(BIN)/python -m bench.sdks

.PHONY: lock
lock: $(READY) ## Pin the dependencies again: names, versions, hashes
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv --system-certs pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-emit-find-links --all-extras --group dev $(MEMBERS:%=--no-emit-package rendezvous-%) \
	  --no-emit-package rendezvous --no-emit-package rendezvous-sdk $(MEMBERS:%=%/pyproject.toml) pyproject.toml -o requirements.lock > /dev/null
	@compose/images/lock.sh

$(BUF): proto/package.json
	@command -v npm > /dev/null || { echo "buf lints the protocol and comes with npm: install Node.js (Debian: apt-get install npm)."; exit 1; }
	@mkdir -p .tools && cp proto/package.json .tools/ && npm install --silent --no-audit --no-fund --no-package-lock --prefix .tools
	@touch $@

.PHONY: clean
clean: ## Remove what can be made again
	rm -rf $(VENV) .tools .pytest_cache .mypy_cache .ruff_cache .rendezvous
