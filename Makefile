# Needs make, git and Python >= 3.11. Everything else is installed into .venv, once per change of pyproject.toml or constraints.txt.
#   PYTHON=/path/to/python3.12   another interpreter
#   TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu   another build of torch than the package index's own

SHELL := /bin/sh
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
PROMPT ?=
# As it was typed: a $ in the prompt is the user's, not make's.
override PROMPT := $(value PROMPT)
export PROMPT

SET_UP = $(if $(PYTHON),,echo "lumiere needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1;) \
	$(PYTHON) service/stack/environment.py

.PHONY: help setup setup-dev demo serve test lint format types imports clean

help:
	@echo "make demo [PROMPT=...]  make a video: prompt -> HTTP -> Redis -> worker -> lumiere-demo.mp4"
	@echo "make serve              run the service on http://127.0.0.1:8000 (LUMIERE_PORT, LUMIERE_DATA_DIR)"
	@echo "make test               run every test"
	@echo "make lint | format | types | imports | clean"

setup:
	@$(SET_UP)

setup-dev:
	@$(SET_UP) --dev

demo:
	@started=$$(date +%s); $(SET_UP) && \
	exec .venv/bin/lumiere demo --prompt "$$PROMPT" --set-up-seconds $$(($$(date +%s) - started))

serve: setup
	@.venv/bin/lumiere serve

test: setup-dev
	@.venv/bin/python -m pytest -q

lint: setup-dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

format: setup-dev
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

types: setup-dev
	@.venv/bin/mypy

imports: setup-dev
	@.venv/bin/lint-imports --no-logo

# Keeps .venv and ./data: remove those by hand.
clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info lumiere-demo.mp4
	find service model workers tests -name __pycache__ -type d -prune -exec rm -rf {} +
