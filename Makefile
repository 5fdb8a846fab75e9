# make demo: the whole study on the embedded demo. make test: everything that CI checks.
# The first call of either installs steplens and its pinned dependencies into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Two test files at a time: half of the time they wait, for a cluster's queue or for Snakemake to start.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
CORES ?= $(shell getconf _NPROCESSORS_ONLN)

# The demo's jobs take a second each: they share the time that importing torch takes.
export STEPLENS_WARM_START ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help install demo test lint unit bench demo-model clean

help:
	@echo "make demo        run the embedded demo: results/demo/report.html"
	@echo "make test        lint, format check, unit tests, dry runs, the demo end to end"
	@echo "make lint        only the checks that run nothing"
	@echo "make bench       measure every stage against its limit: results/bench/bench.csv"
	@echo "make demo-model  retrain the demo's model from nothing (within an hour on two cores)"
	@echo "make clean       remove the demo's results"

install: $(INSTALLED)

$(INSTALLED): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "steplens needs Python 3.11 or later; try make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
		-r requirements.txt -c constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: install
	$(BIN)/snakemake --cores $(CORES)
	@echo "The report: results/demo/report.html"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=workflow $(BIN)/lint-imports --no-cache
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

# Beside the report's results one target that the report does not need: verify is tried on its files, too.
test: lint demo
	$(BIN)/snakemake --cores $(CORES) tie_sensitivity
	$(BIN)/python -m pytest $(PARALLEL)

unit: install
	$(BIN)/python -m pytest $(PARALLEL) -m "not demo"

bench: install
	$(BIN)/python -m benchmarks

# Speech first and by itself: see tools/demo_model/speech.py. The allocator keeps its memory, which
# saves a quarter of the time on a CPU.
demo-model: install
	PYTHONPATH=tools $(BIN)/python -m demo_model.speech
	PYTHONPATH=tools MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 \
		$(BIN)/python -m demo_model.train

clean:
	rm -rf results/demo
