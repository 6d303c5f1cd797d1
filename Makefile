# Every target does its own set-up: a fresh machine needs python3.11 and make, nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Images often forbid bytecode; every process would then compile torch and transformers anew, 10 s of CPU each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long faults lint format bench docs lock audit licences release clean

# uv installs the locked wheels by hash: a wheel of another build (torch's `+cpu`, say) is refused, whatever the machine offers.
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY)
	$(BIN)/audio-tokens demo

# Three processes for two cores, since tests of kills and of timeouts mostly wait; each file of tests in one of them.
PROCESSES := $(shell echo $$(( (3 * $$(nproc) + 1) / 2 )))
APART := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(PROCESSES) --maxprocesses 6 --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(APART)

test-long: $(READY)
	$(APART) -m long

# Every command under every fault; `make faults SEED=7` draws others. benchmarks/results/faults.md has the counts.
SEED ?= 0
faults: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults --seed $(SEED) --table

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m benchmarks

docs: $(READY)
	$(BIN)/sphinx-build -q -W --keep-going -c docs . docs/_build/html
	@echo docs/_build/html/docs/index.html

lock:
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --all-extras --python-version 3.11 pyproject.toml --output-file requirements.lock

# Known vulnerabilities of the locked packages; needs the package index.
audit: $(READY)
	$(BIN)/uv tool run pip-audit@2.10.1 --disable-pip --require-hashes --progress-spinner off -r requirements.lock

licences: $(READY)
	$(BIN)/python -m tests.laws.licences

# The wheel, and beside it what it is installed with (a CycloneDX bill of materials).
release: $(READY) licences
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -m tests.laws.sbom dist/sbom.cdx.json

clean:
	rm -rf $(VENV) work
