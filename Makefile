# make demo    the main job on real text, end to end
# make serve   the demo's index over HTTP
# make test    the tests        make check   formatting, lint and types
# make test-slow   those that take minutes: a soak, Schemathesis
# make peers   what `trimseek bench --peer` compares with, in .venv-peers
#              (make test-peers tests against them)
# make bench   the README's measurements, on the collections in DATA

PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATA ?= ../shared/data
TEXT ?= ../shared/text/passages.jsonl.gz
COLLECTIONS ?= $(addprefix $(DATA)/,scifact nfcorpus cranfield squad-dev) sample:python
BIN := .venv/bin
PEERS := .venv-peers/bin/python -m pip install --quiet
PEERS_NEED := eval/workers/requirements.txt

.PHONY: demo serve test test-slow test-peers check format peers bench clean
.DELETE_ON_ERROR:

# What each needs is installed once; again only when pyproject.toml or the kernels change.
KERNELS := $(wildcard encoders/native/*.[ch] search/native/*.[ch])
.venv/demo: pyproject.toml $(KERNELS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

.venv/dev: pyproject.toml $(KERNELS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/demo

# One that cannot be installed does not keep the others out: the benchmark then says so.
.venv-peers/done: $(PEERS_NEED)
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	$(PEERS) -r $(PEERS_NEED) || grep -v '^#' $(PEERS_NEED) | while read -r each; do \
	    $(PEERS) "$$each" 'huggingface-hub<1' || echo "$$each cannot be installed" >&2; done
	touch $@

peers: .venv-peers/done

demo: .venv/demo
	$(BIN)/python -m eval.demo

serve: .venv/demo
	test -d demo-index || $(BIN)/trimseek index sample:python --into demo-index
	$(BIN)/trimseek serve demo-index

test: .venv/dev
	$(BIN)/pytest

test-slow: .venv/dev
	$(BIN)/pytest -m slow

test-peers: .venv/dev .venv-peers/done
	$(BIN)/pytest -m peers

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# About an hour on 2 cores, half of it when the embeddings are cached; rewrites the README's tables.
bench: .venv/dev .venv-peers/done
	$(BIN)/trimseek bench $(COLLECTIONS) --peer all --into bench-report
	cp bench-report/results.json bench-report/pareto.svg eval/results/
	rm -rf bench-index
	gzip -dc $(TEXT) | head -n 10000 | $(BIN)/trimseek index - --into bench-index
	$(BIN)/python -m eval.startup bench-index > eval/results/startup.json.new
	mv eval/results/startup.json.new eval/results/startup.json
	$(BIN)/python -m eval.readme

clean:
	rm -rf .venv .venv-peers build demo-index bench-index bench-report bench-quality bench-speed *.egg-info .mypy_cache .pytest_cache .ruff_cache
