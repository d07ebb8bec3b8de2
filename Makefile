# Set-up needs Python 3.11+ and make, nothing else. `make demo` and `make test` both set up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST := $(VENV)-newest
LOCK := requirements.lock

.PHONY: demo test test-fast test-newest check bench setup setup-newest lock clean
demo: setup
	$(BIN)/pairloom demo

# files of tests go to one process for each core, which computes with one thread
test test-fast test-newest: export OMP_NUM_THREADS := 1
TESTS := -m pytest tests -n auto --maxprocesses 4 --dist loadfile
test: setup
	$(BIN)/python $(TESTS)

test-fast: setup
	$(BIN)/python $(TESTS) -m "not slow"

# the same without the lock: every library is the newest that pyproject.toml admits, but for torch
test-newest: setup-newest
	$(NEWEST)/bin/python $(TESTS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	for file in experiments/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

setup: $(VENV)/.ready

ENOUGH = $(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "pairloom needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }

$(VENV)/.ready: pyproject.toml $(LOCK)
	@$(ENOUGH)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

setup-newest:
	@$(ENOUGH)
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --constraint constraints.txt --editable ".[dev]"

# Everything that the set-up installs, at one version, for every Python that pyproject.toml names. torch's CUDA libraries
# stay out: the CPU build has none, and a CUDA build names its own versions.
lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	echo "# Made by \`make lock\`; not to be edited. What demo and tests install, on Python 3.11 to 3.14." > $(LOCK).new
	$(VENV)-lock/bin/uv pip compile --quiet pyproject.toml --extra dev --constraint constraints.txt --universal \
	  --python-version 3.11 --no-header --annotation-style line > $(LOCK).all
	grep -vE "^(nvidia-|cuda-|triton)" $(LOCK).all >> $(LOCK).new
	mv $(LOCK).new $(LOCK)
	rm -r $(LOCK).all $(VENV)-lock

clean:
	rm -rf $(VENV) $(NEWEST) build dist .pytest_cache .mypy_cache .ruff_cache
