# make demo    the main job on real text, end to end
# make serve   the demo's index over HTTP
# make test    the tests        make check   formatting, lint and types
# make bench   the README's measurements, on the collections in DATA

PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATA ?= ../shared/data
TEXT ?= ../shared/text/passages.jsonl.gz
COLLECTIONS ?= $(addprefix $(DATA)/,scifact cranfield) sample:python
BIN := .venv/bin

.PHONY: demo serve test check format bench clean
.DELETE_ON_ERROR:

# What each needs is installed once; again only when pyproject.toml changes.
.venv/demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

.venv/dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/demo

demo: .venv/demo
	$(BIN)/python -m eval.demo

serve: .venv/demo
	test -d demo-index || $(BIN)/trimseek index sample:python --into demo-index
	$(BIN)/trimseek serve demo-index

test: .venv/dev
	$(BIN)/pytest

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# About ten minutes on 2 cores; rewrites the README's tables.
bench: .venv/dev
	$(BIN)/trimseek bench $(COLLECTIONS) --baseline --json > eval/results/readme.json.new
	mv eval/results/readme.json.new eval/results/readme.json
	rm -rf bench-index
	gzip -dc $(TEXT) | head -n 10000 | $(BIN)/trimseek index - --into bench-index
	$(BIN)/python -m eval.startup bench-index > eval/results/startup.json.new
	mv eval/results/startup.json.new eval/results/startup.json
	$(BIN)/python -m eval.readme

clean:
	rm -rf .venv build demo-index bench-index *.egg-info .mypy_cache .pytest_cache .ruff_cache
