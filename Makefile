# Everything starts here: each target sets up what it needs, in .venv, and does nothing twice.
#   make book            make test            make help

# The Python to make .venv with. Empty: the one it has, at first python3.
PYTHON ?=
# The build of torch: cpu or cuda. Empty: the one that is installed, at first cpu.
TORCH ?=
# For make records and sweep: which runs (notebooks/profiles/).
PROFILE ?= small
# For make sweep: which of the profile's, and where its jobs run: a folder in notebooks/places, or your own.
SWEEP ?= figure-4
PLACE ?= cores
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
# For make lab: reader (solutions folded), student or instructor.
EDITION ?= reader
# Passed on: make test ARGS="-k folds", make doctor ARGS=--json
ARGS ?=

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
BOOK := book/_build/html/index.html

.PHONY: help setup book book-es messages pdf zip records sweep student instructor slides exercises bench bench-hearing bench-answering bench-growth test chapters test-python audit-packages faults test-cluster check lint types stripped format lab doctor browser clean distclean

help: ## list the targets (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "  Settings: TORCH=cpu|cuda  CORES=n  PROFILE=small  SWEEP=figure-4  PLACE=cores  PYTHON=python3.12  EDITION=student  ARGS=\"…\" (for bench, test, chapters, lab and doctor)"

setup: ## make .venv with the pinned packages (the others call it)
	@scripts/set_up.sh "$(PYTHON)" $(TORCH)

book: setup ## run the notebooks and build the book: book/_build/html/index.html
	@$(BIN)/python scripts/workflow.py --cores $(CORES) --quiet rules host progress -- book
	@echo "The book is ready: $(CURDIR)/$(BOOK)"

book-es: book ## the finished Spanish pages, which make book builds too: book/_build/html/es/index.html
	@echo "The Spanish pages are ready: $(CURDIR)/book/_build/html/es/index.html"

messages: book ## bring the translations' catalogues up to date with the built book, and say what they lack (ARGS=02-scoring: begin a page)
	@$(BIN)/python scripts/translations.py messages $(ARGS)

pdf: book browser ## the built book as one PDF with an outline: book/_build/emoser-book.pdf
	@$(BIN)/python scripts/make_pdf.py

zip: book ## the built book as one file, for a stick: book/_build/emoser-book.zip
	@cd book/_build && rm -f emoser-book.zip && $(CURDIR)/$(BIN)/python -m zipfile -c emoser-book.zip html/ && echo book/_build/emoser-book.zip

records: setup ## run a profile on real data and keep its records in book/records (PROFILE=small)
	@$(BIN)/python scripts/workflow.py --cores $(CORES) --quiet rules host progress --config profile=$(PROFILE) -- records

sweep: setup ## train the cells of a grid, a run each, then its chapter (SWEEP=figure-4 PROFILE=small CORES=n PLACE=slurm)
	@$(BIN)/emoser sweep $(SWEEP) --profile $(PROFILE) --cores $(CORES) --place $(PLACE) $(ARGS)

student: book ## the students' edition: book/_build/student, pages and notebooks without a solution
	@$(BIN)/python scripts/edition.py student

instructor: book ## the teachers' edition: book/_build/instructor, solutions open, notes on each chapter
	@$(BIN)/python scripts/edition.py instructor

slides: book ## slides of the chapters, as pages and PDF: book/_build/slides (PDF where there is a browser)
	@$(BIN)/python scripts/slides.py

exercises: setup ## execute the solutions of the exercises, an hour on two cores, and keep what comes out (ARGS="ex-lora-alpha …": these)
	@$(BIN)/python scripts/exercises.py $(ARGS)

bench: setup ## training steps beside Trainer, TRL and ms-swift, 35 quiet minutes on two cores (ARGS=--quick: does it run?)
	@benchmarks/set_up.sh $(or $(PYTHON),$(BIN)/python)
	@$(BIN)/python -m benchmarks.run $(ARGS)

bench-hearing: setup ## projector training beside the released way, an hour on two quiet cores (ARGS=--quick: does it run?)
	@$(BIN)/python -m benchmarks.hearing $(ARGS)

bench-answering: setup ## Qwen-Audio's labels and LoRA steps beside the usual way, five quiet minutes on two cores (ARGS=--quick: does it run?)
	@$(BIN)/python -m benchmarks.answering $(ARGS)

bench-growth: setup ## what grows with the number of clips, ten minutes on one core (ARGS=--quick: does it run?)
	@$(BIN)/python -m benchmarks.growth $(ARGS)

test: book browser ## build the book, then run all tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES) --dist loadfile $(ARGS)

chapters: setup ## every chapter over a table of corpora, half an hour; what is as it was is left out (ARGS="08 10": only these)
	@OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.chapters $(ARGS)

test-python: ## the tests that need no torch on another Python: make test-python PYTHON=python3.13
	@scripts/test_python.sh "$(PYTHON)"

audit-packages: setup ## ask PyPI for known weaknesses of the pinned packages (pip-audit, in .venv-audit)
	@test -x .venv-audit/bin/pip-audit || { $(BIN)/python -m venv .venv-audit && .venv-audit/bin/pip install -q pip-audit; }
	@.venv-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict $(ARGS)
faults: setup ## damage all that is kept on disk, kill a run fifty times: book/checks/faults.json, twenty quiet minutes
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults $(ARGS)

test-cluster: setup ## a sweep on a Slurm of its own, disturbed in every way: book/checks/cluster.json, fifteen quiet minutes (ARGS=--quick: a little of it)
	@scripts/install_slurm.sh
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.cluster $(ARGS)

check: lint types stripped test ## lint, types, outputs stripped, tests: what must hold before a commit

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy on emoser_lib
	@$(BIN)/mypy

stripped: setup ## no outputs in the notebooks
	@$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb notebooks/assignments/*.ipynb

format: setup ## ruff and nbstripout put things right
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/nbstripout --keep-id notebooks/*.ipynb notebooks/assignments/*.ipynb

lab: book ## open JupyterLab on a copy of the notebooks, in work/ (EDITION=student: without solutions)
	@$(BIN)/python scripts/lab.py $(EDITION) $(ARGS)

doctor: ## say what this machine has and lacks, with the way to get it (works before set-up too)
	@$(firstword $(wildcard $(BIN)/python) $(PYTHON) python3) -m emoser_lib.doctor $(ARGS)

browser: setup ## install Chromium for the browser tests, if absent and root
	@scripts/install_browser.sh $(BIN)/python

clean: ## remove the built book and the tools' caches; runs stay
	rm -rf book/_build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv, .venv-bench, .venv-python, .venv-audit and every run too
	rm -rf $(VENV) .venv-bench .venv-python .venv-audit runs .snakemake .snakemake.lock
