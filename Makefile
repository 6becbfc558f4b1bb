# make run    set up once, then serve on http://127.0.0.1:8080       (make run ARGS="--port 9000" for flags)
# make test   set up once, then check and test everything; make test-all: with the tests that take long, too
# make setup  only install

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)
ARGS ?=

.PHONY: run test test-all setup lint clean

run: $(VENV)/.installed
	@exec $(BIN)/visavis serve $(ARGS)

setup: $(VENV)/.installed

test: $(VENV)/.installed-for-tests
	$(if $(ARGS),$(MAKE) lint && $(BIN)/python -m pytest $(ARGS),$(BIN)/python tools/run_tests.py -q)

test-all: $(VENV)/.installed-for-tests
	$(BIN)/python tools/run_tests.py -q -m ''

lint: $(VENV)/.installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# torch goes first, by its exact version and from where tools/torch_index.py says: an open range, or the usual index on a
# machine without an NVIDIA driver, would bring gigabytes of CUDA libraries. pip is left to show how far it has come.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "visavis needs Python 3.11 or newer (set PYTHON=/path/to/python)"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { echo "install the venv module (Debian: python3-venv)"; exit 1; }
	@options="$$($(BIN)/python tools/torch_index.py)" && { $(PIP) $$options $(TORCH) || $(PIP) $(TORCH); }
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	@$(PIP) --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
