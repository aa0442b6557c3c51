# make run · make test · make check · make bench · make help

.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/bash
export LC_ALL ?= C.UTF-8
# The interpreter and the packages are those of .venv, whatever the caller's shell has set.
unexport PYTHONHOME PYTHONPATH
# WSL sets NAME to the computer's name: a film's name is only a NAME of make's own command line.
ifneq ($(origin NAME),command line)
unexport NAME
endif

VENV := .venv
PYTHON := $(VENV)/bin/python
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
EMULATOR := .venv-emulator
# A virtual environment contains its own path. One that was copied or moved would run other code or none: it is made again.
ifneq ($(shell grep -sLxF "$$(pwd -P)/layers/vms" $(VENV)/lib/python3*/site-packages/_video_management_server.pth),)
$(shell rm $(VENV)/pyvenv.cfg)
endif
FUNCTION ?= plan_expiry
EVENT ?= events/$(FUNCTION).json

# uv installs where it is on the PATH, else pip. $(1) is a virtual environment, $(2) what to install.
UV := $(shell command -v uv 2>/dev/null)
PIP = $(1)/bin/python -m pip install --quiet --disable-pip-version-check --retries 1
INSTALLER = $(if $(UV),uv pip install --quiet --python $(1)/bin/python,$(PIP))
install = $(INSTALLER) $(2) || { echo "$(OFFLINE)" >&2; exit 1; }
OFFLINE := The packages could not be installed. The first run needs a network connection to PyPI, or to a mirror named \
  by $(if $(UV),UV_DEFAULT_INDEX,PIP_INDEX_URL); later runs need none.
# Makes the package `vms` and this directory importable. The build backend is installed from the lock, not fetched.
EDITABLE := --no-deps --no-build-isolation --editable .

.PHONY: help
help: ## Print this list
	@awk '/^##@ / { print "\n" substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { name = $$1; sub(/:$$/, "", name); sub(/.*## /, ""); \
	  printf "  %-16s%s\n", name, $$0 }' $(MAKEFILE_LIST)

# The interpreter of the Lambda runtime, or the nearest one on the PATH; uv fetches it where there is none. The target
# is pyvenv.cfg: bin/python is a link, and make would compare the time of the interpreter that it points to.
$(VENV)/pyvenv.cfg: .python-version
	@for candidate in $(PYTHON_BIN) python3.13 python3 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; \
	  then found=$$candidate; break; fi; \
	done; \
	if [ -n "$(UV)" ]; then uv venv --quiet --clear --python "$${found:-3.13}" $(VENV) || exit 1; \
	elif [ -z "$$found" ]; then \
	  echo "Python 3.13 is needed (at least 3.12); this machine has $$(python3 --version 2>&1 || echo none)." >&2; \
	  echo "Install it (uv, pyenv, or your system's package), or name it: make PYTHON_BIN=/path/to/python3.13" >&2; \
	  exit 1; \
	else "$$found" -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "This Python cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }; fi; \
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v == (3, 13) or print( \
	  "warning: Python %d.%d, where the Lambda runtime has 3.13" % v, file=sys.stderr)'

$(RUN): local/requirements.txt $(VENV)/pyvenv.cfg
	@echo "Installing what make run needs (once, under a minute) ..."
	@$(call install,$(VENV),--require-hashes -r local/requirements.txt)
	@$(call install,$(VENV),$(EDITABLE))
	@touch $(RUN)

$(DEV): requirements.lock $(VENV)/pyvenv.cfg
	@echo "Installing what the tests and sam need (once, about a minute) ..."
	@$(call install,$(VENV),--require-hashes -r requirements.lock)
	@$(call install,$(VENV),$(EDITABLE))
	@touch $(RUN) $(DEV)

$(EMULATOR)/.installed: tests/emulator/requirements.txt $(DEV)
	@echo "Installing the emulator of AWS (once, under a minute) ..."
	@$(PYTHON) -m venv --clear $(EMULATOR)
	@$(call install,$(EMULATOR),--require-hashes -r tests/emulator/requirements.txt)
	@touch $@

# What reads the OpenAPI document and the .http files in tests. They are skipped where this is not installed.
DOCUMENT_TOOLS := .document-tools
$(DOCUMENT_TOOLS)/.installed: tests/document_tools/requirements.txt tests/document_tools/package.json $(DEV)
	@echo "Installing the generators and linters of the OpenAPI document (once, under a minute) ..."
	@$(PYTHON) -m venv --clear $(DOCUMENT_TOOLS)/python
	@$(call install,$(DOCUMENT_TOOLS)/python,--require-hashes -r tests/document_tools/requirements.txt)
	@cp tests/document_tools/package.json $(DOCUMENT_TOOLS)/
	@npm install --prefix $(DOCUMENT_TOOLS) --silent --no-fund --no-audit --no-package-lock
	@touch $@

# Older releases of Lambda's runtime client. Where they cannot be installed (no wheel, no network), their tests are
# skipped.
RUNTIMES := $(VENV)/.runtimes
$(RUNTIMES): tests/awslambdaric_releases.py $(wildcard tests/awslambdaric/*.txt) $(DEV)
	@if $(PYTHON) -m tests.awslambdaric_releases; then touch $(RUNTIMES); fi

##@ Try

.PHONY: run
run: $(RUN) ## Serve everything on http://localhost:3000 (PORT=…), with demo data, in .local/
	@exec $(PYTHON) -m local run

.PHONY: invoke
invoke: $(RUN) ## Invoke a function: make invoke FUNCTION=plan_expiry EVENT=events/plan_expiry.json
	@exec $(PYTHON) -m local invoke $(FUNCTION) $(EVENT)

.PHONY: install
install: $(DEV) ## Install what the tests need and the SAM CLI, into .venv; the others install it by themselves

.PHONY: sam-local
sam-local: $(DEV) ## Serve with sam local start-api in Docker, over the local PostgreSQL and S3 (PORT=…)
	@exec $(PYTHON) -m ops.sam_local

.PHONY: clean
clean: $(RUN) ## Delete the local data (.local/), and stop what a killed runner left running; .venv stays
	@$(PYTHON) -m local clean
	rm -rf .aws-sam

.PHONY: upload
upload: $(RUN) ## Send a film: make upload FILE=film.mp4 [NAME=…] [STACK=vms-prod]; EMAIL and PASSWORD are exported or asked for
	$(if $(filter command%,$(origin PASSWORD)),$(error A command line is no place for a PASSWORD: export it, or type it))
	@exec $(PYTHON) -m ops upload --name="$$NAME" --stack="$$STACK" -- "$$FILE"

##@ Test

.PHONY: test
test: $(DEV) $(RUNTIMES) ## Run all tests; what is skipped is printed with its reason
	@exec $(PYTHON) -m pytest

.PHONY: unit
unit: $(DEV) ## Run the tests that need no server, in seconds
	@exec $(PYTHON) -m pytest tests/unit

.PHONY: test-deep
test-deep: $(DEV) $(RUNTIMES) ## Run what takes minutes: more faults, more orders of requests, killed processes
	@exec $(PYTHON) -m pytest -m deep

.PHONY: test-remote
test-remote: $(DEV) ## Run the end-to-end tests against a service elsewhere: API_URL=https://… [ENV_FILE=.local/env]
	@exec $(PYTHON) -m pytest tests/e2e --api-url="$(API_URL)" $(if $(ENV_FILE),--env-file="$(ENV_FILE)")

.PHONY: test-emulator
test-emulator: $(DEV) $(EMULATOR)/.installed ## Deploy to an emulator of AWS (EMULATOR_ENDPOINT=…, or its own) and test
	@exec $(PYTHON) -m pytest tests/emulator --emulator --emulator-endpoint="$(EMULATOR_ENDPOINT)" \
	  --emulator-database="$(EMULATOR_DATABASE)"

.PHONY: test-sam-local
test-sam-local: $(DEV) ## Run the end-to-end tests over sam local
	@exec $(PYTHON) -m pytest tests/sam_local --sam-local

.PHONY: fuzz
fuzz: $(DEV) ## Fuzz the service by its OpenAPI document and the stream by RFC 9110, with a fresh SEED
	@$(PYTHON) -m tests.fuzz.document $(if $(SEED),--seed $(SEED))
	@$(PYTHON) -m pytest tests/e2e/test_oracle.py --fuzz=10 --seed=$(or $(SEED),$(shell echo $$RANDOM$$RANDOM))

.PHONY: document-tools
document-tools: $(DOCUMENT_TOOLS)/.installed ## Install generators, linters and httpyac with npm; then their tests run too

.PHONY: check
check: $(DEV) $(RUNTIMES) secrets secrets-history audit ## Everything: format, lint, types, secrets, template, all tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/bandit --quiet --configfile pyproject.toml --recursive layers/vms functions local ops
	git ls-files -z | xargs -0 $(VENV)/bin/codespell
	$(VENV)/bin/cfn-lint template.yaml ops/monitoring.yaml
	SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 $(VENV)/bin/sam validate --lint --template template.yaml
	$(PYTHON) -m pytest --numprocesses 2 --dist loadfile --cov --cov-report=term

# Ruff's S105 to S107 look for passwords in Python, so the keyword detector, which finds each password of a test, is
# off. Not secrets: API Gateway's example prefix, unsigned tokens, an ETag and a variable's name in tests, and passwords
# of examples that are no longer in the tree.
NOT_SECRET := abcdef1234|^eyJ[A-Za-z0-9]+\.(e30|eyJzdWIiOiIxIn0)\.x?$$|9bb58f26192e4ba00f01e2e7b136bbd8
NOT_SECRET := $(NOT_SECRET)|AWS_LAMBDA_FUNCTION_NAME=StreamFunction|^(hunter2|secret)$$|^vms$$
FIND_SECRETS := xargs -0 $(CURDIR)/$(VENV)/bin/detect-secrets-hook --no-verify --disable-plugin KeywordDetector \
  --exclude-secrets '$(NOT_SECRET)'

.PHONY: secrets
secrets: $(DEV) ## Look for secrets in the files under version control
	@git ls-files -z | grep -zvE '(^|/)requirements\.(lock|txt)$$|^tests/awslambdaric/|/static/vendor/' | $(FIND_SECRETS)

.PHONY: secrets-history
secrets-history: $(DEV) ## Look for secrets in every version that a file ever had, in seconds
	@directory=$$(mktemp -d) && trap 'rm -rf "$$directory"' EXIT && $(PYTHON) -m ops.history "$$directory" && \
	  cd "$$directory" && find . -type f -not -path "*/static/vendor/*" -print0 | $(FIND_SECRETS)

.PHONY: audit
audit: $(DEV) ## Look for known vulnerabilities in the packages (REQUIRED=1: fail where that cannot be asked)
	@$(PYTHON) -m ops.audit $(if $(REQUIRED),--required)

.PHONY: checkov
checkov: $(DEV) ## Check the template with checkov, in an environment of its own
	@$(VENV)/bin/uvx --quiet --from checkov==3.3.30 checkov -f template.yaml -f ops/monitoring.yaml

##@ Measure

.PHONY: bench
bench: $(DEV) ## Measure, and print one table with the goals beside it; PEER=URL: in turns with another service
	@exec $(PYTHON) -m tests.bench

.PHONY: soak
soak: $(DEV) ## Put a mixed load on the service for MINUTES=10; fail if a promise breaks or anything grows
	@exec $(PYTHON) -m tests.soak "$(or $(MINUTES),10)"

.PHONY: bench-s3
bench-s3: $(DEV) ## Measure three S3 clients: why the stream signs its own requests
	@exec $(PYTHON) -m tests.bench.s3_clients

.PHONY: bench-stream
bench-stream: $(DEV) ## Measure the stream against the S3 server's own speed; TLS=1: over HTTPS against HTTP
	@exec $(PYTHON) -m tests.bench.$(if $(TLS),tls,stream)

##@ Deploy

.PHONY: deploy
deploy: $(DEV) ## Check, build and deploy: make deploy CONFIG=dev [SET="LogLevel=WARNING …"]; docs/deploy.md explains it
	@exec $(PYTHON) -m ops deploy "$$CONFIG" --set="$$SET"

.PHONY: protect
protect: $(DEV) ## Keep a stack and its database from being deleted: make protect CONFIG=prod
	@exec $(PYTHON) -m ops protect "$$CONFIG"

.PHONY: destroy
destroy: $(DEV) ## Take a stack of size dev away whole, after asking: make destroy CONFIG=dev
	@exec $(PYTHON) -m ops destroy "$$CONFIG"

.PHONY: migrate
migrate: $(RUN) ## Bring a deployed stack's schema up to date: make migrate STACK=vms-prod
	@exec $(PYTHON) -m ops migrate "$$STACK"

.PHONY: rotate-keys
rotate-keys: $(RUN) ## Sign a deployed stack's tokens with a new key, in ten minutes: make rotate-keys STACK=vms-prod
	@exec $(PYTHON) -m ops rotate-keys "$$STACK"

.PHONY: operator
operator: $(RUN) ## Plans, purges, exports, SQL, logs: make operator ACTION=show CORPORATION=7 [STACK=vms-prod]; docs/deploy.md
	@exec $(PYTHON) -m ops operator

##@ Maintain

.PHONY: format
format: $(DEV) ## Format, and mend what ruff can mend
	@$(VENV)/bin/ruff check --fix-only -q . ; $(VENV)/bin/ruff format -q .

.PHONY: hooks
hooks: $(DEV) ## Install the git hooks: format, lint, types, spelling and secrets before each commit
	@$(VENV)/bin/pre-commit install

.PHONY: openapi
openapi: $(DEV) ## Regenerate functions/service/openapi.json from the routes
	@$(PYTHON) -m ops.openapi

VENDOR_TOOLS := .vendor-tools
.PHONY: vendor
vendor: ## Regenerate the console's libraries in functions/console/static/vendor; ops/vendor/package.json pins them
	@mkdir -p $(VENDOR_TOOLS) && cp ops/vendor/package.json $(VENDOR_TOOLS)/
	@npm install --prefix $(VENDOR_TOOLS) --silent --no-fund --no-audit --no-package-lock
	@node ops/vendor/vendor.mjs $(CURDIR)/$(VENDOR_TOOLS) $(CURDIR)/functions/console/static/vendor

.PHONY: licences
licences: $(DEV) ## Regenerate docs/licences.md from the installed packages
	@$(PYTHON) -m ops.licences

.PHONY: readme
readme: $(DEV) ## Regenerate the table of settings in README.md
	@$(PYTHON) -m ops.readme

COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header

.PHONY: lock
lock: $(DEV) ## Resolve pyproject.toml's groups into requirements.lock and the files of what is installed on its own
	$(COMPILE) pyproject.toml --group dev -o requirements.lock
	$(COMPILE) pyproject.toml -c requirements.lock -o layers/dependencies/requirements.txt
	$(COMPILE) --group uploads -c requirements.lock -o functions/uploads/requirements.txt
	$(COMPILE) pyproject.toml --group local -c requirements.lock -o local/requirements.txt
	$(COMPILE) --group emulator -o tests/emulator/requirements.txt
	$(COMPILE) --group document -o tests/document_tools/requirements.txt
