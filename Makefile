# Every target sets up what it needs: a fresh machine has Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test test-fast test-server lint smoke bench bench-peers chromium clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: .make/serve  ## serve the demonstration catalogue on http://localhost:8000
	$(BIN)/python -m retriever.export
	SEARCH_DEMO_CATALOGUE=true $(BIN)/python -m service

test: .make/dev chromium  ## all tests, slow ones included
	$(BIN)/python -m pytest

test-fast: .make/dev  ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow"

test-server: .make/dev  ## the contract suite against the Qdrant server at QDRANT_URL
	@test -n "$(QDRANT_URL)" || { echo "QDRANT_URL is not set: QDRANT_URL=http://localhost:6333 make test-server"; exit 2; }
	$(BIN)/python -m pytest tests/contract -k server

lint: .make/dev  ## format check, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

smoke: .make/dev  ## the main job once, on real input: serve, search, train, evaluate
	$(BIN)/python -m tests.smoke

bench: .make/dev  ## measure speed: encoding, search, ingest; tables, JSON and a plot in runs/bench (BENCH="--sizes 1M" for more)
	$(BIN)/python -m benchmarks $(BENCH)

bench-peers: .make/dev  ## measure what a shop would use instead, beside this service (BENCH="--infinity …" for infinity)
	$(BIN)/python -m benchmarks.peers $(BENCH)

# The page is tested in a real browser: the distribution's Chromium, or Playwright's own where apt is not to be had.
chromium: .make/dev
	@command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium) \
		|| $(BIN)/playwright install --with-deps chromium

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

.make/serve: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@mkdir -p .make && touch $@

.make/dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	@mkdir -p .make && touch .make/serve $@

clean:  ## remove what was installed and built, not the data
	rm -rf $(VENV) .make build *.egg-info
