# What a contributor does every day.  Everything happens in .venv, which is made on
# first use; installing is done again only when the project's metadata changes.
#
#   make test ARGS="tests/test_imports.py -x"
#   make serve CONFIG=my.ini
#   make PYTHON=python3.13 test

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= etc/dhcp.ini
ARGS ?=
SECONDS ?= 60
CRASHES ?= 200

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
METADATA := pyproject.toml setup.cfg

.DEFAULT_GOAL := help
.PHONY: help serve test crash fuzz torture lint types package clean

help:
	@echo "make serve     run the server here, on $(CONFIG)"
	@echo "make test      run every test (ARGS=... goes to pytest)"
	@echo "make crash     crash it under load, and fail its disk; as root (CRASHES=200)"
	@echo "make fuzz      try odd bytes on the packet library (SECONDS=60)"
	@echo "make torture   a thousand clients, a thousand times (SEEDS=1000)"
	@echo "make lint      ruff: rules and format"
	@echo "make types     mypy"
	@echo "make package   only the test of the built package"
	@echo "make clean     remove what these have made"

serve: $(VENV)/.installed
	$(BIN)/twistd -n --pidfile= dhcp --config $(CONFIG) $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(ARGS)

# What make test does with a few crashes; 200 take a quarter of an hour.
crash: $(VENV)/.installed-test
	CRASHES=$(CRASHES) $(BIN)/python -m pytest -o faulthandler_timeout=0 \
	    tests/test_crash.py tests/integration/test_faults.py $(ARGS)

# What it has found out is kept in build/fuzz, and is where the next run begins.
fuzz: $(VENV)/.installed-fuzz
	@mkdir -p build/fuzz
	$(BIN)/python fuzz/wire.py -max_total_time=$(SECONDS) -max_len=2000 -verbosity=0 \
	    -artifact_prefix=build/ $(ARGS) build/fuzz

# Much more of what make test tries a little: seeds of a thousand clients, kill -9.
torture: $(VENV)/.installed-test
	SEEDS=$(or $(SEEDS),1000) $(BIN)/python -m pytest tests/test_schedule.py $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy $(ARGS)

package: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests/test_packaging.py $(ARGS)

# dhcptwist-state is not ours to remove: there are leases in it.
clean:
	rm -rf $(VENV) build dist *.egg-info htmlcov _trial_temp*
	rm -rf .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find dhcptwist twisted tests -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

# A stamp is written last, so that whatever was interrupted is done again.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "dhcptwist needs Python 3.11 or later, and there is no $(PYTHON) here." >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "dhcptwist needs Python 3.11 or later; this is $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Name a newer one: make PYTHON=python3.13 ..." >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments: its venv module is missing." >&2; \
	    echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: $(METADATA) | $(VENV)/.made
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: $(METADATA) | $(VENV)/.made
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-fuzz: $(METADATA) | $(VENV)/.made
	$(PIP) install --editable '.[fuzz]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(METADATA) | $(VENV)/.made
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed
