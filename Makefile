# Everything a newcomer needs: `make demo` to see it work, `make test` to know it does.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-virtualenv
INSTALLED := $(VENV)/.installed
# Extra arguments for pytest, as in `make test ARGS='-k reload'`.
ARGS ?=
# Tests wait for servers as much as they compute, so a core has room for two at a time. Each worker collects all tests:
# what one of them has compiled is kept for the others, whatever the environment says.
# Tests write many small files and wait until they are on the disk: where memory has room for them, there is none.
QUICK_TMP := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 1000000 {print "TMPDIR=/dev/shm"}')
PYTEST := PYTHONDONTWRITEBYTECODE= $(QUICK_TMP) $(BIN)/python -m pytest
WORKERS ?= 4
IN_PARALLEL := -n $(WORKERS) --dist worksteal

.PHONY: install demo serve test coverage check collect clients lock format bench bench-peers soak soak-sockets fuzz sbom clean

install: $(INSTALLED)

# The project itself is installed without build isolation: what builds it is in the lock too, so every byte that is
# downloaded has a hash.
$(INSTALLED): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Signalbox needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@test -x $(BIN)/pip || echo 'Setting up $(VENV) from requirements-dev.lock; the first time takes about a minute.'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo 'No venv with pip in this Python; on Debian: apt-get install python3-venv' >&2; exit 1; }
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	@$(BIN)/signalbox demo

serve: install
	$(BIN)/signalbox serve

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What the tests drive and pip cannot bring: real servers, an older openai-python, openai for Node.
clients: install
	@sh .ci/packages
	@sh tests/clients/install.sh $(BIN)/python

# Compiles the tests while the type checker keeps one core busy. Whoever fails here fails in the run, which says why.
collect: install
	@$(PYTEST) -n 0 --collect-only >/dev/null 2>&1 || true

# Thousands of tests start real servers, in CI on a machine that others may use too: there, whoever failed is asked once
# more, alone. A fault fails again, and both answers stand in the log.
test: clients
	@$(MAKE) --no-print-directory --jobs=2 check $(if $(ARGS),,collect)
	$(PYTEST) $(IN_PARALLEL) -r fEsx $(ARGS) || { [ -n "$(CI)" ] && \
	    $(PYTEST) -n 0 -r fEsx --last-failed --last-failed-no-failures none; }

# The same, and which lines it ran: tracing takes nearly as long again.
coverage: check clients
	$(PYTEST) $(IN_PARALLEL) -r fEsx --cov --cov-report=term $(ARGS)

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/python -m benchmarks.load

# A million scenarios on a virtual clock; half an hour on two cores. Stops at the first that fails.
soak: install
	$(BIN)/python -m tests.simulation --count 1000000 $(ARGS)

# Requests over real sockets for ten minutes, or as ARGS=--seconds says: nothing that the gateway holds may grow.
soak-sockets: install
	$(BIN)/python -m tests.faults.soak $(ARGS)

# The parsers with many more and other examples than a test run has; some minutes, or what COUNT says.
COUNT ?= 20000
fuzz: install
	FUZZ_EXAMPLES=$(COUNT) $(BIN)/python -m pytest -n 2 tests/fuzz $(ARGS)

# What the gateway runs with, as CycloneDX.
sbom: install
	@mkdir -p dist
	@$(BIN)/python .ci/sbom.py >dist/signalbox.cdx.json
	@echo dist/signalbox.cdx.json

# Peers to measure beside us: large downloads, so nothing else asks for them.
bench-peers:
	bash benchmarks/peers/install.sh

# Writes the lock files from pyproject.toml: pins stay unless they no longer fit, or with ARGS=--upgrade.
LOCK := .cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links
lock:
	test -x .cache/lock/bin/uv || { $(PYTHON) -m venv .cache/lock && .cache/lock/bin/python -m pip install --quiet uv; }
	$(LOCK) pyproject.toml -o requirements.lock $(ARGS)
	$(LOCK) pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock $(ARGS)
	$(LOCK) --group build -c requirements-dev.lock -o requirements-build.lock $(ARGS)

clean:
	rm -rf $(VENV) .cache dist build .coverage* tests/node/node_modules
