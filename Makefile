# make run    a server with an agent deployed, here and now (PORT=… chooses the port)
# make docs   the references in docs/ anew, from the program
# make test   the whole test suite                  make lint type format   what a change must pass
# make binary dist/muxi-server, one file             make test-binary   the tests of a whole server, with it
# make bench  measurements                          make lock   write requirements/*.lock anew
# WORKERS=0   one process runs the tests, one after the other (default: 3, side by side)
# PYTHON=…    the interpreter to build on (3.11 or newer; default: the first one found)
#
# One virtual environment, `.venv`, filled by steps from the lock files. Each step leaves a stamp,
# so that a second run does nothing. POSIX make, and GNU make from 3.81 on.

VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
INSTALL = $(PIP) install --require-hashes --only-binary :all: -r
WORKERS = 3
BESIDE = -n $(WORKERS) --dist worksteal
UV = uv==0.13.9
BINARY_TESTS = tests/binary tests/integration tests/conformance tests/faults tests/cli

all: test

run: $(VENV)/.stamp-run
	@PORT="$(PORT)" $(BIN)/python examples/quickstart.py

test: $(VENV)/.stamp-test
	@$(BIN)/python -m pytest $(BESIDE) $(ARGS)

# With all cases of Autobahn|Testsuite, where there is a Python 2.7, and all steps of the walks through
# deaths of the server: half an hour more.
test-all: $(VENV)/.stamp-test
	@MUXI_AUTOBAHN=full MUXI_FAULTS=full $(BIN)/python -m pytest -o faulthandler_timeout=6000 $(ARGS)

# The server killed 200 times under load, and at each step of its operations; disks that refuse each step.
test-faults: $(VENV)/.stamp-test
	@MUXI_FAULTS=full $(BIN)/python -m pytest -o faulthandler_timeout=6000 tests/faults tests/integration/test_updating.py $(ARGS)

# A real formation on the real MUXI runtime: two gigabytes are fetched into .cache/, the first time.
acceptance: $(VENV)/.stamp-test
	@MUXI_ACCEPTANCE=1 $(BIN)/python -m pytest -o faulthandler_timeout=7200 tests/acceptance -x -s $(ARGS)

# Containers on a real Docker engine, which is installed where it can be: all that the suite leaves out, too.
test-docker: $(VENV)/.stamp-test
	@MUXI_DOCKER=full $(BIN)/python -m pytest tests/containers $(ARGS)

# The image, built for real with the binary inside, and run: as root, where docker.io and debootstrap are.
test-image: $(VENV)/.stamp-test $(if $(MUXI_IMAGE),,binary)
	@MUXI_IMAGE="$(or $(MUXI_IMAGE),dist/muxi-server)" $(BIN)/python -m pytest -o faulthandler_timeout=1800 tests/image $(ARGS)

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/zizmor --offline --pedantic --quiet .github

type: $(VENV)/.stamp-dev
	$(BIN)/mypy

format: $(VENV)/.stamp-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.stamp-run
	@$(BIN)/python -m docs.generate

.PHONY: docs

binary: $(VENV)/.stamp-venv
	@$(BIN)/python -m build.build $(ARGS)

# The tests that run a whole server, with the binary for the server.
test-binary: $(VENV)/.stamp-test binary
	@MUXI_BINARY=dist/muxi-server $(BIN)/python -m pytest $(BESIDE) $(or $(ARGS),$(BINARY_TESTS))

bench-binary: $(VENV)/.stamp-run binary
	@$(BIN)/python -m bench.binary $(ARGS)

bench: $(VENV)/.stamp-run
	@$(BIN)/python -m bench $(ARGS)

bench-supervision: $(VENV)/.stamp-run
	@$(BIN)/python -m bench.supervision $(ARGS)

bench-releases: $(VENV)/.stamp-run
	@$(BIN)/python -m bench.releases $(ARGS)

lock: $(VENV)/.stamp-venv
	$(BIN)/python -m venv .cache/lock
	.cache/lock/bin/python -m pip --disable-pip-version-check --quiet install $(UV)
	sh requirements/lock .cache/lock/bin/uv $(ARGS)

# What runs and what was deployed (.muxi/) stays: that is data.
clean:
	rm -rf $(VENV) .cache dist build/out .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	find muxi tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp-venv: requirements/make-venv
	@PYTHON="$(PYTHON)" sh requirements/make-venv $(VENV)
	@touch $@

$(VENV)/.stamp-run: $(VENV)/.stamp-venv requirements/run.lock pyproject.toml
	@echo "Installing what the server needs, as locked in requirements/run.lock ..."
	@$(INSTALL) requirements/run.lock
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-run requirements/test.lock
	@echo "Installing what the tests need, as locked in requirements/test.lock ..."
	@$(INSTALL) requirements/test.lock
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-test requirements/dev.lock
	@echo "Installing type checker and linter, as locked in requirements/dev.lock ..."
	@$(INSTALL) requirements/dev.lock
	@touch $@

.PHONY: all run binary test test-all test-binary test-faults test-docker test-image acceptance lint type format bench bench-binary bench-supervision bench-releases lock clean
