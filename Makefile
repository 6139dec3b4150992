# `make` prints the commands. Nothing here needs root, Docker, Node or graphviz on the machine.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; name another with `make PYTHON=…`.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
WORKERS ?= auto

.DEFAULT_GOAL := help

.PHONY: help
help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Installs a lock without resolving anything: with uv where there is one, else with pip.
define install
	@test -n "$(PYTHON)" || { echo "Stemma needs Python 3.11 or newer; none was found" >&2; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -r $(1) && \
		uv pip install --quiet --python $(BIN)/python --no-deps --editable .; \
	else \
		"$(PYTHON)" -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(1) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .; \
	fi
	@$(BIN)/python -m compileall -q src  # every start of a process would compile it anew where that is not kept
	@touch $@
endef

$(VENV)/.installed: requirements.txt pyproject.toml
	@echo "Setting up $(VENV) (some 550 MB, once) ..."
	$(call install,requirements.txt)

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(call install,requirements-dev.txt)

.PHONY: setup
setup: $(VENV)/.installed ## Install Stemma into .venv

.PHONY: demo
demo: $(VENV)/.installed ## Run a real workflow end to end and draw its provenance
	@STEMMA_ENV_FILE=/dev/null $(BIN)/stemma demo

.PHONY: serve
serve: $(VENV)/.installed ## Start the service on http://localhost:8000
	@STEMMA_ENV_FILE=/dev/null $(BIN)/stemma serve

.PHONY: up
up: ## Start the full stack in containers: MySQL, Keycloak, API, worker
	@docker compose version >/dev/null 2>&1 || { echo "this needs Docker with its compose plugin, version 2" >&2; exit 1; }
	@test -e .env || { cp .env.example .env; echo "made .env, with secrets that everybody knows"; }
	@docker compose up --build --wait || { docker compose logs --no-color --tail 20 prov-migrate >&2; exit 1; }
	@url=$$(sed -n 's/^STEMMA_PUBLIC_URL=//p' .env); \
		echo; echo "  API       $${url:-http://localhost:8000}/docs   (Authorize: user_1, password_1; so up to user_5)"
	@echo "  Keycloak  $$(sed -n 's/^STEMMA_KEYCLOAK_URL=//p' .env)   (the administrator is in .env)"
	@echo "  end       make down; the data stays"

.PHONY: down
down: ## Stop it; the data stays in its volumes
	@docker compose version >/dev/null 2>&1 || { echo "this needs Docker with its compose plugin, version 2" >&2; exit 1; }
	@docker compose down

.PHONY: test
test: $(VENV)/.installed-dev ## Run the tests (MariaDB ones where STEMMA_TEST_MYSQL_URL names a server)
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal tests

.PHONY: check
check: $(VENV)/.installed-dev ## Lint, types, layers, dependencies
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src

.PHONY: bench
bench: $(VENV)/.installed ## Measure against plain cwltool, side by side
	@for script in $(filter-out benchmarks/link.py benchmarks/replication.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

.PHONY: reana-standin
reana-standin: $(VENV)/.installed-dev ## Start a stand-in for a REANA server, to try things; jobs run on this machine
	@PYTHONPATH=tests $(BIN)/python -m support.reana_standin --port $(or $(PORT),8900)

.PHONY: docs
docs: $(VENV)/.installed ## Regenerate .env.example and docs/cli.md
	@$(BIN)/python docs/generate.py

.PHONY: lock
lock: ## Compile the locks (needs uv)
	uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --upgrade \
		pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
		pyproject.toml --extra mysql --extra reana -c requirements.txt -o requirements-full.txt
	uv pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
		pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

.PHONY: clean
clean: ## Remove what was installed and made
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
