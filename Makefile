# Needs Python 3.11 or newer with pip, and make. Everything else goes into .venv, once, and again when pyproject.toml or
# constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
POMONA := $(BIN)/pomona
# A process a core, at most four: each loads torch. Each computes with one thread, so that they do not wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help install install-dev search dashboard test test-slow check clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## make .venv and install pomona into it

install-dev: $(VENV)/.installed-dev ## the same with every extra and the tools for development

search: install ## search the fruit task for under a minute and show the leaderboard
	$(POMONA) search fruit --trials 12 --epochs 4 --set resolution=96 --timeout 40s

dashboard: install ## look at the studies in a browser
	$(POMONA) dashboard

test: install-dev ## the tests that take seconds
	$(PYTEST)

test-slow: install-dev ## the others, browser included, and each benchmark once
	$(PYTEST) -m "slow or browser"
	$(BIN)/python -m pytest tests/benchmarks -o addopts= --benchmark-disable

check: install-dev ## lint, format, types and tests: what has to pass before a change goes in
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(MAKE) test

clean: ## remove build output and caches; .venv and results/studies stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find bench pomona search_spaces studies tests training -name __pycache__ -exec rm -rf {} +

# Debian's Python may lack ensurepip; its pip can then put pip into the environment.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is missing or older than Python 3.11: run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || \
		{ $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install -c constraints.txt -e '.[weights]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install -c constraints.txt -e '.[all,dev]'
	touch $@ $(VENV)/.installed
