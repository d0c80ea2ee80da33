# Two commands for a newcomer: `make demo` and `make test`. `make help` lists all.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FUZZER := $(VENV)/.fuzzer
ARGS ?=

.PHONY: help install demo unit test coverage check format chaos chaos-nightly soak fuzz bench docs lock clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

install: $(INSTALLED) ## Install into .venv, once; the other targets do it too.

demo: $(INSTALLED) ## Show the whole system; ARGS="--once --json FILE" exits by itself.
	@$(BIN)/redlane demo $(if $(JSON),--json $(JSON)) $(ARGS)

unit: $(INSTALLED) ## Run the tests that need neither services nor a model bundle.
	$(BIN)/pytest tests -m "not heavy and not slow" $(ARGS)

test: $(INSTALLED) ## Run the tests, on real services.
	$(BIN)/pytest tests -m "not slow" --durations=10 $(ARGS)

coverage: $(INSTALLED) ## Run the same tests and print their coverage; half as fast.
	$(BIN)/pytest tests -m "not slow" --cov --cov-report=term $(ARGS)

check: $(INSTALLED) ## Lint, types, import directions, generated files, compatibility.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m schemas.generate --check
	$(BIN)/python -m schemas.compat
	$(BIN)/python -m streams.operations.dashboards --check
	$(BIN)/python -m streams.operations.helm_chart --check

format: $(INSTALLED) ## Format the code and mend what the linter can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

CHAOS = $(BIN)/pytest tests/chaos $(if $(SEED),--chaos-seed $(SEED)) $(if $(JSON),--chaos-json $(JSON))

chaos: $(INSTALLED) ## The proof by breaking; SEED=N repeats a run, JSON=FILE gets the figures.
	$(CHAOS) -m "not soak" $(ARGS)

chaos-nightly: $(INSTALLED) ## Ten minutes of it: fewer faults, and another part with every seed.
	$(CHAOS) -m "not soak" --chaos-scale 0.2 --chaos-minutes 9 $(ARGS)

soak: $(INSTALLED) ## An hour under load; ARGS="--minutes 5" for less.
	$(CHAOS) -m soak -s $(ARGS)

fuzz: $(FUZZER) ## Hostile input, guided by coverage; ARGS="--minutes 10 --target photo".
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(INSTALLED) ## Measure throughput on this machine, as ratios.
	$(BIN)/python -m tests.bench.throughput $(ARGS)

docs: $(INSTALLED) ## Build the documents as a site, into build/site; ARGS=--serve shows it live.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs $(if $(filter --serve,$(ARGS)),serve,build)

COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
  --custom-compile-command "make lock"

lock: $(INSTALLED) ## Resolve the dependencies again.
	$(COMPILE) pyproject.toml --all-extras -o requirements.lock
	$(COMPILE) pyproject.toml --extra tracing -o requirements-serve.lock
	$(COMPILE) pyproject.toml --extra console -o requirements-console.lock
	$(COMPILE) --group pyproject.toml:fuzz -o requirements-fuzz.lock
	set -e; for image in cpu gpu sbom; do \
	  $(COMPILE) deploy/requirements/$$image.in -c requirements-serve.lock \
	    -o deploy/requirements/$$image.lock; done

clean: ## Remove the virtual environment; the cache in ~/.cache/redlane stays.
	rm -rf $(VENV)

$(INSTALLED): requirements.lock requirements-data.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' || \
	  { echo "Redlane needs Python 3.11 or 3.12: make PYTHON=python3.11"; exit 1; }
	@free=$$(df -Pm . | awk 'NR == 2 {print $$4}'); [ -x $(BIN)/redlane ] || [ $$free -gt 12000 ] || \
	  { echo "$$free MB are free here and the installation needs 12000: free some."; exit 1; }
	@echo "Installing into $(VENV) (8 GB, a few minutes; once) …"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-data.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(INSTALLED)

$(FUZZER): $(INSTALLED) requirements-fuzz.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-fuzz.lock
	@touch $(FUZZER)
