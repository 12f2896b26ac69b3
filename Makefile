# Everything here sets up what it needs: a virtual environment in .venv, made once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CHECKERS := $(VENV)/.checkers
BENCH ?= all
# Two for each core: most of the time of the end-to-end tests, a process waits for another.
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
# As pip does with what it copies. Else Python does at the first start, or, where it is told to
# write no bytecode (PYTHONDONTWRITEBYTECODE), at each.
COMPILE = @$(BIN)/python -m compileall -q harvester

.PHONY: demo test check format audit bench torture clean

demo: $(READY)  ## run the main job on the embedded simulator
	$(BIN)/harvester demo

test: $(READY)  ## run the tests, on all cores
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(CHECKERS)  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/consumer.py

format: $(READY)  ## rewrite the code as the linter wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: $(READY)  ## look for known vulnerabilities in the dependencies (AUDIT=--strict: or fail)
	$(BIN)/python .ci/audit.py $(AUDIT)

bench: $(READY)  ## measure against the SDK on the simulator, into bench/ (BENCH="--quick all")
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	$(COMPILE)
	$(BIN)/python -m bench $(BENCH)

torture: $(READY)  ## kill, starve and damage sweeps, into docs/reliability.md (TORTURE="--kills 20")
	$(BIN)/python -m tests.torture --out docs/reliability.md $(TORTURE)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "harvester needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(COMPILE)
	@touch $@

$(CHECKERS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,check]'
	$(COMPILE)
	@touch $@
