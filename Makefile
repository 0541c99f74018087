# `make` lists the targets. Everything happens in .venv, made on first use; nothing else needs to be installed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
ARGS ?=
# How many test files run side by side; 0 is one after the other in one process.
WORKERS ?= 2

VENV_BIN := $(abspath $(VENV))/bin
PIP := $(VENV_BIN)/python -m pip --disable-pip-version-check
PINS := -c constraints.txt --build-constraint constraints.txt
# A stamp file older than what it was installed from is installed again.
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
# What notebooks run on elsewhere, besides the pinned one: tests/notebooks/kernels.py looks for each in a place of its own.
KERNELS := 6.31.0 7.3.0
# A blueapi for the tests, which asks for other versions than we do: tests/support/blueapi_peer.py looks for it there.
BLUEAPI := $(VENV)/blueapi
BLUEAPI_PINS := tests/support/blueapi_profile/requirements.txt
# Libraries of optimizers for tests/brains, too large to be everybody's: an environment over the one above.
BRAINS := $(VENV)/brains
BRAINS_PINS := tests/brains/requirements.txt

# The tools find each other, and pre-commit its hooks, in the environment made here and nowhere else.
export PATH := $(VENV_BIN):$(PATH)
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# Of whoever calls `make` with another environment active: IPython would warn of it.
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo venv test test-brains screenshots lint hooks bench chaos schemas pins clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(RUNTIME)  ## watch an agent align a simulated beamline, about a minute (ARGS="--seed 3 --keep")
	$(VENV_BIN)/agent-service demo $(ARGS)

venv: $(DEV)  ## make .venv with the package, its dependencies and the developers' tools

test: $(DEV) $(BLUEAPI)/.installed  ## run the whole test suite (ARGS="-k client" for a part), in a browser too where there is Chromium
	@.ci/chromium
	@.ci/postgresql
	$(VENV_BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-brains: $(BRAINS)/.installed  ## run the tests of brains from the field, with their libraries (ARGS="-k optuna" for a part, ARGS=--short as CI)
	$(BRAINS)/bin/python -m pytest tests/brains tests/unit/test_families.py -n $(WORKERS) --dist loadfile $(ARGS)

screenshots: $(DEV)  ## write the pictures in docs/images anew, in a browser
	@.ci/chromium
	SCREENSHOTS=docs/images $(VENV_BIN)/python -m pytest tests/notebooks/test_panel_screens.py tests/notebooks/test_page_browser.py \
		tests/notebooks/test_page_states.py tests/notebooks/test_relay_browser.py

lint: $(DEV)  ## check format, style, types, layers and spelling
	ruff format --check .
	ruff check .
	pyright
	lint-imports
	codespell
	pre-commit validate-config

hooks: $(DEV)  ## run the pre-commit hooks over every file
	pre-commit run --all-files --show-diff-on-failure

bench: $(DEV)  ## measure against bare FastAPI and a bare RunEngine
	$(VENV_BIN)/python -m tests.benchmarks $(ARGS)

chaos: $(DEV) $(BLUEAPI)/.installed  ## kill a service, its agents and its archive, or what ARGS names in tests/chaos, N times (N=100 SEED=7 ARGS=service)
	$(VENV_BIN)/python -m tests.chaos $(ARGS) --kills $(or $(N),100) $(if $(SEED),--seed $(SEED))

schemas: $(DEV)  ## write docs/openapi.json and docs/service.schema.json anew
	$(VENV_BIN)/agent-service schema > docs/service.schema.json
	$(VENV_BIN)/python -c 'import json, agent_service; print(json.dumps(agent_service.create_app().openapi(), indent=1))' \
		> docs/openapi.json

pins:  ## write constraints.txt anew from the newest versions, in an environment of its own
	PYTHON="$(PYTHON)" .ci/pins

clean:  ## remove .venv, caches and the demo's results
	rm -rf $(VENV) agent-service-demo build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'error: Python 3.11 or newer is needed; say which with: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'making $(VENV) ...'
	@"$(PYTHON)" -m venv $(VENV)

# pip comes first: the one that Python brings knows neither dependency groups nor constraints on build tools.
$(RUNTIME): $(VENV)/bin/python pyproject.toml constraints.txt
	@echo 'installing into $(VENV) (about a minute) ...'
	@$(PIP) install --quiet -c constraints.txt --upgrade pip
	@$(PIP) install --quiet $(PINS) --editable .
	@touch $@

$(DEV): $(RUNTIME)
	@echo "installing the developers' tools into $(VENV) ..."
	@$(PIP) install --quiet $(PINS) --group dev
	@for version in $(KERNELS); do \
		$(PIP) install --quiet --upgrade --no-deps --target $(VENV)/kernels/ipykernel-$$version ipykernel==$$version \
		|| exit 1; done
	@touch $@

$(BLUEAPI)/.installed: $(BLUEAPI_PINS) | $(DEV)
	@echo 'installing a blueapi for the tests into $(BLUEAPI) (about a minute) ...'
	@$(VENV_BIN)/python -m venv --without-pip $(BLUEAPI)
	@$(PIP) --python $(BLUEAPI)/bin/python install --quiet --no-deps -r $(BLUEAPI_PINS)
	@touch $@

$(BRAINS)/.installed: $(BRAINS_PINS) $(DEV)
	@echo 'installing libraries of optimizers for the tests into $(BRAINS) (some minutes) ...'
	@$(VENV_BIN)/python -m venv --without-pip $(BRAINS)
	@parent=$$($(VENV_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
		echo "import site; site.addsitedir('$$parent')" \
		> "$$($(BRAINS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/over.pth"
	@$(PIP) --python $(BRAINS)/bin/python install --quiet $(PINS) -r $(BRAINS_PINS)
	@touch $@
