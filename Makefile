# Two commands: `make run` shows it, `make test` proves it. Both set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST ?= tests
# Many tests wait for processes most of the time.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN || echo 2); echo $$((n > 4 ? 12 : 3 * n)))
STAGE  ?= dev
CHECK  ?= check

SEED   := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
MACHINES ?= tests/integration/test_jobs_machine.py tests/integration/test_lifecycle_machine.py \
	tests/integration/test_jobs_waiting.py tests/unit/session_handler/test_protocol.py \
	tests/unit/chalicelib/test_relay.py

.PHONY: help dashboards observe package run test search crash check api-docs locks locked sbom audit fuzz coursera emulators deploy diff destroy conformance bench clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "usher needs Python 3.11 or newer; say PYTHON=/path/to/one"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.can-%: requirements-%.txt requirements-run.txt requirements.txt session_handler/requirements.txt | $(BIN)/python
	@echo "installing requirements-$*.txt into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

run: $(VENV)/.can-run ## Run all of it here, with demo data; ARGS="--help" lists the options
	@exec $(BIN)/python -m local up --assignment examples/graders/anagrams $(ARGS)

check: $(VENV)/.can-dev ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# In the order of tests/conftest.py, not the files with the most tests first: the longest have few.
test: $(VENV)/.can-dev $(CHECK) ## All checks and all tests; PYTEST="tests/unit -k pool" picks some
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not alone" $(PYTEST) || [ $$? -eq 5 ]
	$(BIN)/pytest -m alone $(PYTEST) || [ $$? -eq 5 ]

test-fast: check ## The checks and the tests without processes and network, for the inner loop
	$(BIN)/pytest --numprocesses 2 --dist loadfile tests/unit

coverage: $(VENV)/.can-dev ## The lines of the product that the fast tests do not run
	$(BIN)/pytest --numprocesses 2 --dist loadfile --cov=chalicelib --cov=session_handler --cov=usher --cov-report=term-missing:skip-covered tests/unit

# `make test` tries the same examples each time; this tries many others. SEED=n repeats a search.
search: $(VENV)/.can-dev ## Long random searches of all state machines; SEED=n repeats one
	@echo "search: SEED=$(SEED)"
	$(BIN)/pytest --hypothesis-profile=search --hypothesis-seed=$(SEED) $(MACHINES)

crash: $(VENV)/.can-dev ## Every crash point of the crash matrices; `make test` tries two fates of each AWS call
	CRASH_POINTS=all $(BIN)/pytest --numprocesses $(WORKERS) tests/integration/test_crash_matrix.py tests/integration/test_jobs_crash_matrix.py tests/integration/test_grading_crash_matrix.py

locks: $(VENV)/.can-dev ## Renew the lock files: newest versions within the ranges, with hashes
	$(BIN)/python -m infra.supply.locks
	$(BIN)/python -m infra.supply.bases

locked: | $(BIN)/python ## Install exactly what requirements-dev.lock says, every hash checked
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/.can-run $(VENV)/.can-dev

sbom: $(VENV)/.can-dev ## Bills of materials of what is deployed, from the locks, to build/sbom
	$(BIN)/python -m infra.supply.bills

audit: $(VENV)/.can-dev ## Known vulnerabilities of what is locked, where a database of them answers
	$(BIN)/python -m infra.supply.audit

api-docs: $(VENV)/.can-dev ## Write docs/api.md anew, from what the routes declare
	$(BIN)/python -m infra.api_page

package: $(VENV)/.can-dev ## What others install, to build/packages: wheel, sdist and npm tarball
	@$(BIN)/python -m infra.packages

dashboards: $(VENV)/.can-dev ## Write the dashboards and the table of metrics anew, from what is declared
	$(BIN)/python -m infra.observe.dashboards

observe: $(VENV)/.can-run ## Prometheus, and Grafana where it is installed, on the running `make run`
	@exec $(BIN)/python -m infra.observe $(ARGS)

fuzz: $(VENV)/.can-dev ## Search for input that makes a parser fail, SECONDS=60 for each; ARGS="--keep cron_expression"
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(ARGS)

coursera: ## Coursera's tool for graders, in an environment of its own: its `docker` module is another
	$(PYTHON) -m venv .venv/coursera
	.venv/coursera/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/coursera/requirements.lock

emulators: ## Install emulators of AWS by others, for the tests that compare with them (needs npm)
	npm ci --prefix tests/emulators --no-audit --no-fund --loglevel=error
	$(PYTHON) -m venv tests/emulators/.venv
	tests/emulators/.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/emulators/requirements.lock

deploy: $(VENV)/.can-dev ## To AWS: STAGE=dev; ARGS="--dry-run" shows every command and runs none
	$(BIN)/python -m infra.deploy deploy --stage $(STAGE) $(ARGS)

diff: $(VENV)/.can-dev ## What deploying STAGE would change
	$(BIN)/python -m infra.deploy diff --stage $(STAGE) $(ARGS)

destroy: $(VENV)/.can-dev ## End STAGE and all that is in it, after asking
	$(BIN)/python -m infra.deploy destroy --stage $(STAGE) $(ARGS)

conformance: $(VENV)/.can-dev ## Check from outside what is promised; TARGET=aws on a throw-away stage
	$(BIN)/python -m conformance --target $(or $(TARGET),local) $(ARGS)

bench: $(VENV)/.can-dev ## Measure against bare processes and containers; see docs/performance.md
	$(BIN)/python -m benchmarks

clean: ## Remove what was set up and built here
	rm -rf $(VENV) tests/emulators/.venv tests/emulators/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .chalice/deployments
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
