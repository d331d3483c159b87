# make demo    the main job on real text, end to end
# make serve   the demo's index over HTTP
# make test    the tests        make check   formatting, lint and types
# make test-slow   those that take minutes: a soak, Schemathesis
# make peers   what `trimseek bench --peer` compares with, in .venv-peers, and hnswlib and usearch
#              (make test-peers tests against them)
# make test-cluster   shards built and served by Ray, which it installs into .venv
# make test-clients   other people's clients of /v1/embeddings, in .venv-clients
# make bench   the measurements of docs/results.md, on the collections in DATA

PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATA ?= ../shared/data
TEXT ?= ../shared/text/passages.jsonl.gz
COLLECTIONS ?= $(addprefix $(DATA)/,scifact nfcorpus cranfield squad-dev) sample:python
ENCODERS ?= minilm-float32 minilm-int8 minilm-int8+minilm-swift minilm-int8+minilm-dash \
    minilm-brief+minilm-swift mpnet-int8 bm25
BIN := .venv/bin
PEERS := .venv-peers/bin/python -m pip install --quiet
PEERS_NEED := eval/bench/workers/requirements.txt
GRAPHS := 'hnswlib>=0.8,<1' 'usearch>=2.26,<3'
CLIENTS_NEED := tests/api/clients/requirements.txt

.PHONY: demo serve test test-slow test-peers test-cluster test-clients check format peers clients bench clean
.DELETE_ON_ERROR:

# Folders of the repository that are packages of trimseek.
PACKAGES := encoders indexer search api eval compression cluster

# What each needs is installed once; again when pyproject.toml or the kernels change, or when a
# folder gets or loses a file, as the installation is a folder of links to the files.
KERNELS := $(wildcard encoders/native/*.[ch] encoders/native/*.inc indexer/native/*.[ch] search/native/*.[ch])
FOLDERS := trimseek $(PACKAGES) $(patsubst %/,%,$(sort $(dir $(wildcard $(addsuffix /*/*.py,$(PACKAGES))))))
.venv/demo: pyproject.toml $(KERNELS) $(FOLDERS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

.venv/dev: pyproject.toml $(KERNELS) $(FOLDERS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/demo

# One that cannot be installed does not keep the others out: the benchmark then says so.
.venv-peers/done: $(PEERS_NEED) .venv/demo
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	$(BIN)/python -m pip install --quiet $(GRAPHS) || echo "$(GRAPHS) cannot be installed" >&2
	$(PEERS) -r $(PEERS_NEED) || grep -v '^#' $(PEERS_NEED) | while read -r each; do \
	    $(PEERS) "$$each" 'huggingface-hub<1' || echo "$$each cannot be installed" >&2; done
	touch $@

peers: .venv-peers/done

.venv-clients/done: $(CLIENTS_NEED)
	test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet -r $(CLIENTS_NEED)
	npm install --silent --prefix .venv-clients openai@7.57.0
	touch $@

clients: .venv-clients/done

demo: .venv/demo
	$(BIN)/python -m trimseek.eval.figures demo

serve: .venv/demo
	test -d demo-index || $(BIN)/trimseek index sample:python --into demo-index
	$(BIN)/trimseek serve demo-index

# Two processes, one file at a time each: what a file's tests share is built once. Modules are
# compiled once, too, for the many processes that the tests start.
test: export OMP_NUM_THREADS = 1
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/dev
	$(BIN)/pytest -n 2 --dist loadfile --durations=10

test-slow: .venv/dev
	$(BIN)/pytest -m slow

test-peers: .venv/dev .venv-peers/done
	$(BIN)/pytest -m peers

.venv/cluster: .venv/dev
	$(BIN)/python -m pip install --quiet --editable '.[dev,cluster]'
	touch $@

test-cluster: .venv/cluster
	$(BIN)/pytest -m cluster

test-clients: .venv/dev .venv-clients/done
	$(BIN)/pytest -m clients

# mypy looks for packages where their names say: build/mypy/trimseek has links to the folders.
check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	rm -rf build/mypy && mkdir -p build/mypy/trimseek
	ln -s $(CURDIR)/trimseek/*.py $(CURDIR)/trimseek/py.typed build/mypy/trimseek/
	ln -s $(addprefix $(CURDIR)/,$(PACKAGES)) build/mypy/trimseek/
	MYPYPATH=build/mypy $(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# About an hour on 2 cores, half of it when the embeddings are cached; rewrites docs/results.md and the README's table.
bench: .venv/dev .venv-peers/done
	$(BIN)/trimseek bench $(COLLECTIONS) $(addprefix --encoder ,$(ENCODERS)) --peer all --into bench-report
	cp bench-report/results.json bench-report/pareto.svg bench-report/documents.svg eval/figures/results/
	rm -rf bench-index
	gzip -dc $(TEXT) | head -n 10000 | $(BIN)/trimseek index - --into bench-index
	$(BIN)/python -m trimseek.eval.figures startup bench-index
	$(BIN)/python -m trimseek.eval.figures docs

clean:
	rm -rf .venv .venv-peers .venv-clients build demo-index demo-questions bench-index bench-report bench-quality bench-speed *.egg-info .mypy_cache .pytest_cache .ruff_cache
