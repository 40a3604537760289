# `make repro`, `make test` and `make ui` are all a new user needs; VENV may be set to another place.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: install repro table test tables-small scaled-data soak fuzz bench bench-gpu lint types check ui clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint requirements.lock --editable '.[dev]'
	touch $@

repro: install ## prepare, train, evaluate and report the default comparison
	$(BIN)/orc-repro run
	$(BIN)/orc-repro page
	$(BIN)/orc-repro sync
	$(BIN)/orc-repro table
	@echo 'Everything on one page: reports/index.html    Tables: reports/    Runs, curves, role changes: make ui    Change something: README.md'

test: install ## every test; those on real CIFAR images are skipped where there are none
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=30

tables-small: install ## every stage of every table with a handful of images, through DVC
	rm -rf $(VENV)/tables-small
	$(BIN)/python -m tests.tables_small $(VENV)/tables-small $(foreach s,$(STUDIES),'$(s)')

scaled-data: install ## the images of reports/protocol.md, from CIFAR in data/raw (or CIFAR10=, CIFAR100=)
	$(BIN)/orc-repro subset cifar10 --from $(or $(CIFAR10),data/raw) --to data/raw/cifar10-3k \
	  --train-per-class 400 --test-per-class 200
	$(BIN)/orc-repro subset cifar100 --from $(or $(CIFAR100),data/raw) --to data/raw/cifar100-3k \
	  --train-per-class 200 --test-per-class 100 --every-class 5

soak: install ## runs killed KILLS times in all, wherever; they must come out the same (20 minutes)
	ORC_KILLS=$(or $(KILLS),200) $(BIN)/python -m pytest -s tests/reliability/test_kills.py

fuzz: install ## spoil the files of every reader for SECONDS (60); SEED repeats a run
	$(BIN)/python -m tests.hostile.fuzz --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

bench: install ## beside a peer-style loop, as ratios; PEER=folder adds a checkout of RepDistiller
	$(BIN)/python -m benchmarks.checkpoint
	$(BIN)/python -m benchmarks.determinism
	$(BIN)/python -m benchmarks.tracking
	$(BIN)/python -m benchmarks.suite $(if $(PEER),--peer-path $(PEER))

bench-gpu: install ## ORC's iteration on a GPU, from a peer's loop to seeds side by side (9 minutes)
	$(BIN)/python -m benchmarks.gpu

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

check: install ## dvc.lock, cells, results and report agree
	$(BIN)/orc-repro check

ui: install ## the MLflow UI on http://127.0.0.1:5000
	$(BIN)/orc-repro ui

clean: ## forget everything made here: data, weights, runs
	rm -rf data/prepared weights roles .orc
