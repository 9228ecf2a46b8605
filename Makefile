# The two commands a newcomer needs: `make demo` and `make test`. Each installs what it needs and says so.
SHELL := /bin/bash
PYTHON := .venv/bin/python

.PHONY: help demo test lab lint types unit integration fuzz notebooks benchmarks clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

demo: ## set up, run the first course notebook for real, print its tables
	@.ci/setup demo
	@$(PYTHON) notebooks/run.py notebooks/01-first-image.ipynb

lab: ## open JupyterLab on the notebooks
	@.ci/setup demo
	@$(PYTHON) -m jupyterlab notebooks

test: ## everything that CI checks
	@.ci/setup test
	@.ci/test

lint: ## style and types only
	@.ci/setup test
	@.ci/test lint

unit: ## unit and golden tests only
	@.ci/setup test
	@.ci/test unit

integration: ## tests that run containers, as this user
	@.ci/setup test
	@.ci/test integration

FUZZ_SECONDS := 60
fuzz: ## feed the readers of text and layers with made-up input, for FUZZ_SECONDS in all
	@.ci/setup test
	@$(PYTHON) -m pip install -q --disable-pip-version-check -e '.[fuzz]'
	@$(PYTHON) tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

notebooks: ## execute the course notebooks and store their outputs
	@.ci/setup demo
	@$(PYTHON) notebooks/run.py --save notebooks/*.ipynb notebooks/builder/*.ipynb

benchmarks: ## time this engine beside docker, where docker is present
	@.ci/setup demo
	@$(PYTHON) benchmarks/run.py

clean: ## remove what the other targets made here
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
