# make run · make test · make check · make bench · make help

.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/bash
export LC_ALL ?= C.UTF-8
unexport PYTHONHOME

VENV := .venv
PYTHON := $(VENV)/bin/python
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
# The package `vms` and this directory are importable in the environment; the build backend is in the lock, so nothing is fetched.
EDITABLE = $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
FUNCTION ?= plan_expiry
EVENT ?= events/$(FUNCTION).json

.PHONY: help
help: ## Show this
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# The interpreter of the Lambda runtime, or the nearest one there is. The target is pyvenv.cfg, for its age is the environment's: bin/python is
# a link, and make looks at what it leads to.
$(VENV)/pyvenv.cfg: .python-version
	@for candidate in $(PYTHON_BIN) python3.13 python3 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.13 is needed (3.12 at the least), and this machine has $$(python3 --version 2>&1 || echo none)." >&2; \
	  echo "Install it (pyenv install 3.13, uv python install 3.13, or your system's package) or name it: make PYTHON_BIN=/path/to/python3.13" >&2; \
	  exit 1; \
	fi; \
	"$$found" -c 'import sys; v = sys.version_info; print(f"warning: Python {v[0]}.{v[1]} instead of the Lambda runtime'"'"'s 3.13") if v[:2] != (3, 13) else None' >&2; \
	"$$found" -m venv --clear $(VENV) || { echo "This Python cannot make virtual environments; on Debian: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(RUN): local/requirements.txt $(VENV)/pyvenv.cfg
	@echo "Installing what make run needs (once, under a minute) ..."
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r local/requirements.txt
	@$(EDITABLE)
	@touch $(RUN)

$(DEV): requirements.lock $(VENV)/pyvenv.cfg
	@echo "Installing what the tests need (once, about a minute) ..."
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(EDITABLE)
	@touch $(RUN) $(DEV)

# Older releases of Lambda's runtime client, for the tests; without them (no wheel here, no network) those tests are skipped.
RUNTIMES := $(VENV)/.runtimes
$(RUNTIMES): tests/awslambdaric_releases.py $(wildcard tests/awslambdaric/*.txt) $(DEV)
	@if $(PYTHON) -m tests.awslambdaric_releases; then touch $(RUNTIMES); fi

.PHONY: run
run: $(RUN) ## Serve everything on http://localhost:3000 (PORT=…), with demo data, in .local/
	@exec $(PYTHON) -m local run

.PHONY: invoke
invoke: $(RUN) ## Invoke a function: make invoke FUNCTION=plan_expiry EVENT=events/plan_expiry.json
	@exec $(PYTHON) -m local invoke $(FUNCTION) $(EVENT)

.PHONY: test
test: $(DEV) $(RUNTIMES) ## Run all tests; what is skipped is printed with its reason
	@exec $(PYTHON) -m pytest

.PHONY: migrate
migrate: $(RUN) ## Bring a deployed stack's schema up to date: make migrate STACK=vms-prod
	@exec $(PYTHON) -m ops migrate $(STACK)

.PHONY: rotate-keys
rotate-keys: $(RUN) ## Sign a deployed stack's tokens with a new key, ten minutes from now: make rotate-keys STACK=vms-prod
	@exec $(PYTHON) -m ops rotate-keys $(STACK)

.PHONY: checkov
checkov: $(DEV) ## Look the template over with checkov, in an environment of its own
	@$(VENV)/bin/uvx --quiet --from checkov==3.3.30 checkov -f template.yaml

EMULATOR := .venv-emulator

$(EMULATOR)/.installed: tests/emulator/requirements.txt $(DEV)
	@echo "Installing the emulator of AWS (once, under a minute) ..."
	@$(PYTHON) -m venv --clear $(EMULATOR)
	@$(EMULATOR)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/emulator/requirements.txt
	@touch $@

.PHONY: sam-local
sam-local: $(DEV) ## Build with sam and serve with sam local start-api, in Docker, against the local PostgreSQL and S3 (PORT=…)
	@exec $(PYTHON) -m ops.sam_local

.PHONY: test-sam-local
test-sam-local: $(DEV) ## The end-to-end tests over sam local
	@TEST_SAM_LOCAL=1 exec $(PYTHON) -m pytest tests/sam_local

.PHONY: test-emulator
test-emulator: $(DEV) $(EMULATOR)/.installed ## Deploy to an emulator of AWS (AWS_ENDPOINT_URL, or one of its own) and test there
	@TEST_EMULATOR=1 exec $(PYTHON) -m pytest tests/emulator

.PHONY: check
check: $(DEV) $(RUNTIMES) ## Formatting, lint, types, the template, and the tests with coverage
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/cfn-lint template.yaml
	SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 $(VENV)/bin/sam validate --lint --template template.yaml
	$(PYTHON) -m pytest --cov --cov-report=term

.PHONY: format
format: $(DEV) ## Format and mend what can be mended
	@$(VENV)/bin/ruff check --fix-only -q . ; $(VENV)/bin/ruff format -q .

.PHONY: openapi
openapi: $(DEV) ## Write functions/service/openapi.json anew from the routes
	@$(PYTHON) -m ops.openapi

.PHONY: bench
bench: $(DEV) ## Measure, and print one table with the goals beside it
	@exec $(PYTHON) -m tests.bench

.PHONY: bench-s3
bench-s3: $(DEV) ## Measure three S3 clients: why the stream signs its own requests
	@exec $(PYTHON) -m tests.bench.s3_clients

.PHONY: bench-stream
bench-stream: $(DEV) ## Measure the stream against the S3 server's own speed
	@exec $(PYTHON) -m tests.bench.stream

COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: lock
lock: $(DEV) ## Resolve pyproject.toml's groups into the lock and its two subsets
	$(COMPILE) pyproject.toml --group dev -o requirements.lock
	$(COMPILE) pyproject.toml -c requirements.lock -o layers/dependencies/requirements.txt
	$(COMPILE) pyproject.toml --group local -c requirements.lock -o local/requirements.txt
	$(COMPILE) --group emulator -o tests/emulator/requirements.txt

.PHONY: clean
clean: $(RUN) ## Drop the local data (.local/), what a killed runner left running included; the virtual environment stays
	@$(PYTHON) -m local clean
	rm -rf .aws-sam
