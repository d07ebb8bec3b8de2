# Set-up needs Python 3.10+ and make, nothing else. `make demo` and `make test` both set up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-fast check bench setup clean
demo: setup
	$(BIN)/pairloom demo

# files of tests go to one process for each core, which computes with one thread
test test-fast: export OMP_NUM_THREADS := 1
TESTS := $(BIN)/python -m pytest tests -n auto --maxprocesses 4 --dist loadfile
test: setup
	$(TESTS)

test-fast: setup
	$(TESTS) -m "not slow"

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	for file in experiments/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || { echo "pairloom needs Python 3.10 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
