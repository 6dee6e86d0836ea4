# Needs Python 3.11 or newer and make; everything else is installed here, at the locked versions.
PYTHON ?= python3
HOME_FOLDER ?= $(or $(ASSAY_HOME),assay-home)
ASSAY = .venv/bin/assay
DEV = .venv-dev/bin
# What is done is told by what is run; V=1 shows each command before it.
Q := $(if $(V),,@)

.DEFAULT_GOAL := help
.PHONY: help flow-binance-spot-ratings flow-binance-spot-rating-all-ls flow-binance-spot-rating-ma-ls \
        flow-binance-spot-ratings-meta data-ingest meta-ingest atomic-audit test test-all browser bench bench-scaling docs \
        lock clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-34s %s\n", $$1, $$2}'

flow-binance-spot-ratings: .venv/ready  ## Run the four canonical sleeves on the embedded sample
	$(Q)$(ASSAY) flow binance-spot-ratings --home $(HOME_FOLDER)

flow-binance-spot-rating-all-ls: .venv/ready  ## Run the long and short sleeves of the combined rating
	$(Q)$(ASSAY) flow binance-spot-rating-all-ls --home $(HOME_FOLDER)

flow-binance-spot-rating-ma-ls: .venv/ready  ## Run the long and short sleeves of the moving-average rating
	$(Q)$(ASSAY) flow binance-spot-rating-ma-ls --home $(HOME_FOLDER)

flow-binance-spot-ratings-meta: .venv/ready  ## Put the four canonical sleeves into one book; runs what is missing
	$(Q)$(ASSAY) meta run meta_binance_spot_ratings --home $(HOME_FOLDER)

data-ingest: .venv/live  ## Scan the live market, load Binance's bars into the lake, audit and rate them
	$(Q)$(ASSAY) ingest --source binance --scan --home $(HOME_FOLDER)

meta-ingest: .venv/live  ## Refresh instrument facts, then count unique atoms and invalid records of the superset
	$(Q)$(ASSAY) ingest --source binance --facts --home $(HOME_FOLDER)

atomic-audit: .venv/ready  ## Audit every sealed run in the home folder: SOUND, or the first thing that is not
	$(Q)$(ASSAY) audit --all --home $(HOME_FOLDER)

test: .venv-dev/ready  ## Lint, types, layers, docstring examples and tests
	$(Q)PATH="$(CURDIR)/$(DEV):$$PATH" $(DEV)/python scripts/check.py

test-all: .venv-dev/ready .venv-engine/ready .venv-docs/ready  ## The same, with the slow tests, a second engine for the book, the site and the wheel
	$(Q)PATH="$(CURDIR)/$(DEV):$$PATH" $(DEV)/python scripts/check.py --slow
	$(Q).venv-engine/bin/python -m pytest tests/evaluation/test_book_engine.py -k zipline

browser:  ## Install Debian's Chromium for the browser tests, where it is missing and can be
	@command -v chromium >/dev/null || test -n "$$CHROMIUM" || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	echo "no chromium: the browser tests will be skipped (apt-get install chromium, or set CHROMIUM)"

bench: .venv/ready .venv-dev/ready  ## Measure against named peers; answers are checked before they are timed
	$(Q)$(DEV)/python -m benchmarks

bench-scaling: .venv-scaling/ready  ## How time and memory grow, beside what users would pick instead; writes docs/scaling.md
	$(Q).venv-scaling/bin/python -W ignore -m benchmarks.scaling $(if $(SMALL),--small) $(if $(FULL),--full)

docs: .venv-docs/ready  ## Build the site of the documentation into build/docs, without a network
	$(Q).venv-docs/bin/python scripts/docs.py

lock: .venv-dev/ready  ## Resolve requirements*.txt again from pyproject.toml
	$(Q)$(DEV)/python scripts/lock.py

clean:  ## Remove environments and caches; runs and lake stay
	$(Q)rm -rf .venv .venv-dev .venv-engine .venv-docs .venv-scaling .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

define install
	@echo "$(1): installing what $(2) locks, once; a minute or so" >&2
	$(Q)$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Assay needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(Q)$(PYTHON) -m venv $(1)
	$(Q)$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-installer.txt
	$(Q)$(1)/bin/uv pip install --quiet --system-certs --python $(1)/bin/python --require-hashes --compile-bytecode -r $(2) || \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2)
	$(Q)$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(1)/ready
endef

.venv/ready: requirements.txt requirements-installer.txt pyproject.toml
	$(call install,.venv,requirements.txt)

.venv/live: .venv/ready requirements-live.txt
	$(Q).venv/bin/uv pip install --quiet --system-certs --python .venv/bin/python --require-hashes --compile-bytecode -r requirements-live.txt || \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-live.txt
	@touch .venv/live

.venv-engine/ready: requirements-engine.txt requirements-installer.txt pyproject.toml
	$(call install,.venv-engine,requirements-engine.txt)

.venv-docs/ready: requirements-docs.txt requirements-installer.txt pyproject.toml
	$(call install,.venv-docs,requirements-docs.txt)

.venv-scaling/ready: requirements-scaling.txt requirements-installer.txt pyproject.toml
	$(call install,.venv-scaling,requirements-scaling.txt)

.venv-dev/ready: requirements-dev.txt requirements-installer.txt pyproject.toml
	$(call install,.venv-dev,requirements-dev.txt)
