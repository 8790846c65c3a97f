# Needs Python >= 3.11 with venv and pip. PYTHON names another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DAGSTER_DISABLE_TELEMETRY := 1
# Set in some images, it makes every process compile the same again: 1.5 s of those that Dagster starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test up bench lint lock clean
.DEFAULT_GOAL := test

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=...")'
	@echo "Setting up $(VENV) from requirements.lock (0.9 GB, one to two minutes) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install -qq --no-compile --require-hashes -r requirements.lock
	@$(VENV)/bin/python -m pip install -qq --no-deps --no-build-isolation -e .
	@$(VENV)/bin/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib || true  # on all cores; pip has one
	@touch $@

$(DEV_STAMP): $(STAMP) requirements-dev.lock
	@$(VENV)/bin/python -m pip install -qq --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(STAMP)
	@$(VENV)/bin/gex demo

up: $(STAMP)
	@$(VENV)/bin/gex up

bench: $(STAMP)
	@$(VENV)/bin/gex bench all

lint: $(DEV_STAMP)
	@$(VENV)/bin/ruff format --check -q .
	@$(VENV)/bin/ruff check -q .
	@$(VENV)/bin/mypy

test: lint
	@$(VENV)/bin/pytest

# For maintainers: uv resolves the lock file for every platform and Python version.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	--no-emit-find-links --no-header --upgrade -q
lock:
	@$(LOCK) pyproject.toml --extra postgres --group build -o requirements.lock
	@$(LOCK) --group dev --constraint requirements.lock -o requirements-dev.lock

clean:
	@rm -rf $(VENV)
