# Two targets are all that most people need: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The page is tested in Debian's Chromium. Without it those tests are left out, and say so.
BROWSER := command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq chromium) >/dev/null 2>&1 \
	|| echo 'NOT TESTED: the search page. Its tests need chromium: apt-get install chromium'

.PHONY: demo test test-slow bench format clean help

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

# torch first, by its exact version: asked for by another package it could be a build of several gigabytes
$(VENV)/.dev: pyproject.toml lab/pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) --editable '.[train,mini,watch,photos,serve,openvino,dev]' --editable lab
	@touch $@ $(VENV)/.core

demo: $(VENV)/.core  ## index a gallery of photographs, search it, write a contact sheet
	$(BIN)/hivlp demo --out demo
	@echo 'For the commands above: . $(BIN)/activate'

test: $(VENV)/.dev  ## lint, types, import layers, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	@$(BROWSER)
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist worksteal

test-slow: $(VENV)/.dev  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow -n 0

# the pictures of DATA: pairs with a split val, products, and photographs without captions
SEARCHED := --data $(DATA)/flickr8k/captions.tsv --data $(DATA)/fashion --data $(DATA)/photos --data scenes:1000

bench: $(VENV)/.dev  ## measure the tables of docs/benchmarks.md anew, for hours: make bench DATA=FOLDER
	for items in 100000 1000000; do \
		$(BIN)/hivlp bench search --items $$items $(SEARCHED) --out benchmarks/results || exit 1; done
	mv benchmarks/results/search-100000-*.png docs/images/search-100000.png
	rm benchmarks/results/search-*.png
	$(BIN)/python docs/generate.py

format: $(VENV)/.dev  ## bring the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what make made
	rm -rf $(VENV) demo build dist
