# Needs Python >= 3.11 with venv and pip. PYTHON names another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DAGSTER_DISABLE_TELEMETRY := 1
# Set in some images, it makes every process compile the same again: 1.5 s of those that Dagster starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test up bench lint lock clean
.DEFAULT_GOAL := test

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=...")'
	@echo "Setting up $(VENV) from requirements.lock (1.2 GB, one to three minutes) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install -qq --require-hashes -r requirements.lock
	@$(VENV)/bin/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	@$(VENV)/bin/gex demo

up: $(STAMP)
	@$(VENV)/bin/gex up

bench: $(STAMP)
	@$(VENV)/bin/gex bench all

lint: $(STAMP)
	@$(VENV)/bin/ruff format --check -q .
	@$(VENV)/bin/ruff check -q .
	@$(VENV)/bin/mypy

test: lint
	@$(VENV)/bin/pytest

# For maintainers: uv resolves the lock file for every platform and Python version.
lock:
	@uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-strip-extras --no-emit-index-url --no-emit-find-links --no-header --upgrade -q -o requirements.lock

clean:
	@rm -rf $(VENV)
