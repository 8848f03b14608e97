# Two commands are enough on a fresh machine with Python 3.11+ and make: `make demo`, `make test`.
# `make check` is what CI runs. Everything happens in .venv; nothing is installed outside it.

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help venv demo test large lint types docs check torture explore slow slow-in-ci nirs4all test-nirs4all oldest test-oldest mutants bench bench-full clean

# The first Python that is new enough, unless the caller names one: make PYTHON=/opt/python3.12 test
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
endif

VENV := .venv
BIN := $(VENV)/bin
DEMO_WORKSPACE ?= demo-workspace

help:
	@echo 'make demo     fit real pipelines on real spectra through the store, in ./$(DEMO_WORKSPACE)'
	@echo 'make test     the quick test suite; COVERAGE=1 measures branch coverage with it'
	@echo 'make large    the tests with torch, keras and catboost: half a gigabyte to install'
	@echo 'make check    what CI runs: lint, types, tests, docs'
	@echo 'make torture  crashes, races and damage at random, each for N4A_TORTURE_SECONDS (default 30)'
	@echo 'make explore  every interleaving of the protocol with three preemptions and one death'
	@echo 'make slow     the other tests that take long'
	@echo 'make mutants  break the protocol in every way that is listed, and see the tests notice'
	@echo 'make nirs4all the tests with the real nirs4all, in an environment of their own'
	@echo 'make oldest   the tests with the oldest versions of all that the library needs, likewise'
	@echo 'make bench    the benchmarks, small: under three minutes; make bench-full takes every peer'
	@echo 'make clean    remove everything that make and the tools made, .venv too'

comma := ,

# One stamp per set of extras, written last, so that an interrupted installation is no installation.
# $(VENV)/complete is away while pip works: an environment without it may be half written and is
# built anew. A larger set stamps the smaller ones that it contains.
define install
	@test -n "$(PYTHON)" || { echo 'error: no Python 3.11 or later found' >&2; \
		echo 'hint: install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; exit 1; }
	@test -f $(VENV)/complete && $(BIN)/python -c pass || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $(VENV)/complete
	@echo 'installing .[$(1)] into $(VENV): a minute or so, once'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'
	@touch $(VENV)/complete $(addprefix $(VENV)/installed-,$(2))
endef

$(VENV)/installed-demo: setup.cfg pyproject.toml
	$(call install,demo,demo)

$(VENV)/installed-test: setup.cfg pyproject.toml
	$(call install,test,demo test)

$(VENV)/installed-dev: setup.cfg pyproject.toml
	$(call install,dev,demo test dev)

$(VENV)/installed-large: setup.cfg pyproject.toml
	$(call install,large,large test demo)

$(VENV)/installed-nirs4all: setup.cfg pyproject.toml
	$(call install,test$(comma)nirs4all,nirs4all test demo)

$(VENV)/installed-bench: $(VENV)/installed-dev
	$(call install,bench,bench)

$(VENV)/installed-bench-full: $(VENV)/installed-dev
	$(call install,bench-full,bench bench-full)

venv: $(VENV)/installed-dev

demo: $(VENV)/installed-demo
	@$(BIN)/n4a-store -w $(DEMO_WORKSPACE) demo
	@echo 'The command n4a-store is in $(BIN): source $(BIN)/activate'

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -q -n auto $(if $(COVERAGE),--cov)

large: $(VENV)/installed-large
	$(BIN)/python -m pytest -q -m large

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

docs: $(VENV)/installed-test
	$(BIN)/python -m pytest -q tests/docs

# The examples and links of the documentation are tests, so `test` covers `docs`.
check: lint types test

# Each test goes on for N4A_TORTURE_SECONDS.
torture: $(VENV)/installed-test
	N4A_TORTURE_SECONDS=$${N4A_TORTURE_SECONDS:-30} $(BIN)/python -m pytest -q -m torture

# To the end, and with any number of preemptions: make explore EXPLORE='--preemptions any'
explore: $(VENV)/installed-test
	$(BIN)/python -m tests.protocol.exhaust $(EXPLORE)

slow: $(VENV)/installed-test
	N4A_TORTURE_SECONDS=$${N4A_TORTURE_SECONDS:-30} $(BIN)/python -m pytest -q -m "slow and not torture"

# Of the slow tests, those that CI has the time for: the demo, the tutorial from a fresh clone, and a
# handful of mutants.
slow-in-ci: $(VENV)/installed-test
	$(BIN)/python -m pytest -q -m slow tests/demo tests/cli tests/mutation tests/docs

# nirs4all brings a gigabyte along, so it has an environment of its own.
nirs4all:
	$(MAKE) VENV=.venv-nirs4all test-nirs4all

test-nirs4all: $(VENV)/installed-nirs4all
	$(BIN)/python -m pytest -q -m nirs4all tests/integrations

# What the library itself needs, in the oldest versions that it promises to work with.
OLDEST ?= tests/artifacts tests/cli tests/objects tests/packs tests/refs tests/repo tests/storage

oldest:
	$(MAKE) VENV=.venv-oldest test-oldest

$(VENV)/installed-oldest: setup.cfg tests/oldest.txt
	$(PYTHON) -m venv --clear $(VENV)
	@echo 'installing tests/oldest.txt into $(VENV): half a minute, once'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/oldest.txt --editable .
	@touch $@

test-oldest: $(VENV)/installed-oldest
	$(BIN)/python -m pytest -q -n auto $(OLDEST)

mutants: $(VENV)/installed-test
	$(BIN)/python -m tests.mutation.runner --out docs/explanation/mutations.md

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/commands.py
	$(BIN)/python benchmarks/training.py 50 1 ridge
	$(BIN)/python -m benchmarks.peers --form small --rounds 1 --peers balanced,once,lmdb,sqlite,joblib

bench-full: $(VENV)/installed-bench-full
	$(BIN)/python benchmarks/training.py 200 3
	$(BIN)/python benchmarks/scale.py --large
	$(BIN)/python benchmarks/scale_git.py
	$(BIN)/python -m benchmarks.peers --form full --seconds 3600

clean:
	rm -rf $(VENV) .venv-nirs4all .venv-oldest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.coverage htmlcov $(DEMO_WORKSPACE)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
