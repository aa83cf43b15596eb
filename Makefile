# Every verb sets up what it needs and reuses it the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test lint type lock clean

demo: $(READY)  ## the main job: web pages to corpus to CLIP to report, in runs/demo
	$(BIN)/sightmill demo

test: $(READY)  ## every test, files side by side, each on one core
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive \
		$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(READY)
	$(BIN)/mypy

$(READY): pyproject.toml requirements.lock
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock:  ## resolve pyproject.toml again into requirements.lock
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --extra dev \
		--python-version 3.11 pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .cache runs
