# Two commands: `make demo` and `make test`. Both make their own environment in .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The extra that holds faiss: `make demo FAISS=gpu` on a machine with a GPU.
FAISS  ?= cpu
# The videos of `make bench`.
CLIPS  ?= sample/clips
# A worker takes whole files, so that what a file's tests share is made once.
TESTS  := pytest -n 2 --dist loadfile --no-loadscope-reorder
# What the stages run is `python`: the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage lint bench bench-gpu clean

help:        ## this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' Makefile | expand -t 16

install: $(VENV)/.installed   ## the environment alone

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(FAISS),dev]'
	touch $@

demo: install   ## the sample data set through the whole graph, and where to look
	dvc repro
	@python -m stages.results

test: install   ## the test suite
	$(TESTS)

coverage: install   ## the same, telling what of pipeline/ and stages/ it runs; half as long again
	$(TESTS) --cov --cov-report=term

lint: install   ## ruff and mypy
	ruff check .
	mypy

bench: install   ## what benchmarks/ measures, on the sample's clips or CLIPS=a folder of videos
	python -m benchmarks.retrieval
	python -m benchmarks.decoding $(CLIPS)
	python -m benchmarks.extraction $(CLIPS)
	python -m benchmarks.captioner
	python -m benchmarks.scaling

bench-gpu: install   ## one table of what a GPU does, on the same clips; install with FAISS=gpu
	python -m benchmarks.gpu $(CLIPS)

clean:   ## what the stages made for the data set of params.yaml; other data sets and DVC's cache stay
	python -m stages.clean --yes
