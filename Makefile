# Everything runs inside .venv, which any target sets up on first use and reuses afterwards.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.8
STUDIES ?= studies
KEEP :=
RECORDS ?= docs/results/records
BASELINES := hyperiqa dbcnn linearityiqa maniqa
SWEEP = $(BIN)/nt-study sweep --data photos:small --seeds 3 --studies $(STUDIES)

.PHONY: help setup demo smoke test test-slow torture lab lint audit format ui paper-small results bench bench-all docs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "NT Study needs Python 3.11 or newer; point PYTHON at one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(READY)

setup: $(READY) ## create .venv with the locked packages

demo: $(READY) ## run the demo study: six trials, mixtures of them and a front in about three minutes
	$(BIN)/nt-study launch hyperiqa --preset demo --name demo --studies $(STUDIES) --or-show

smoke: $(READY) ## the same in under a minute, with fewer trials
	$(BIN)/nt-study launch hyperiqa --preset smoke --name smoke --studies $(STUDIES) --or-show

test: $(READY) ## run the tests, in two processes
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-slow: $(READY) ## run the tests that take minutes each: killed drivers, lost nodes, whole attack suites
	$(BIN)/python -m pytest -m "slow and not lab"

torture: $(READY) ## for hours, as root: ten thousand hostile inputs, and real studies hurt in every way, 15 times each
	$(BIN)/python -m pytest tests/user_reports/test_hostile_inputs.py --hypothesis-profile torture --hypothesis-seed 1
	$(BIN)/python -m benchmarks.torture --record benchmarks/torture/record.jsonl

lab: $(READY) ## as root: Ray's autoscaler, and `ray up` to `ray down` on three hosts made of namespaces
	$(BIN)/python -m pytest -m lab
	tests/cluster/lab/lab.sh

lint: $(READY) ## ruff (lint and format), mypy, spelling, docstrings, dead code, dependencies; exceptions and why: pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files -z '*.py' '*.md' '*.yaml' '*.toml' '*.html' Makefile | xargs -0 $(BIN)/codespell
	$(BIN)/python tests/docs/docstrings.py nt_study study trainables analysis search_spaces benchmarks tests
	$(BIN)/vulture
	$(BIN)/deptry .

audit: $(READY) ## look the locked packages up among known vulnerabilities; needs the network
	@$(BIN)/uv tool run pip-audit==2.10.1 --strict --requirement requirements.lock --disable-pip --no-deps --progress-spinner off || \
	{ echo "Above: packages with known vulnerabilities, or a database that could not be asked. Nothing is cleared by this run."; exit 1; }

format: $(READY) ## let ruff fix and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(READY) ## browse the studies in MLflow
	$(BIN)/nt-study ui --studies $(STUDIES)

paper-small: $(READY) ## the paper's experiments at small size, in about an hour and a half; goes on where it was
	for baseline in $(BASELINES); do $(SWEEP) $$baseline lam --full-suite reported || exit 1; done
	$(SWEEP) hyperiqa step_size --values 0.001,0.01,0.1,1
	$(SWEEP) hyperiqa intensity
	$(MAKE) results RECORDS=$(STUDIES) KEEP="--records docs/results/records"

results: $(READY) ## write docs/results from the records kept there
	cd docs/results && rm -rf tables figures ablations findings.md against-the-paper.md tables.md tables.tex
	$(BIN)/nt-study report $(BASELINES:%=%-lam) --studies $(RECORDS) $(KEEP) --out docs/results
	$(BIN)/nt-study report hyperiqa-step_size hyperiqa-intensity --studies $(RECORDS) $(KEEP) --out docs/results/ablations

docs: $(READY) ## the documentation site in build/site: pages made from the code written, links checked, warnings are errors
	$(BIN)/python docs/make_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(READY) ## measure steps and attacks on this machine, and put them into docs/performance.md
	$(BIN)/python benchmarks/gpu.py --parts steps,attacks --seconds 420
	$(BIN)/python -m benchmarks.tables

bench-all: $(READY) ## run the other benchmarks: data, attacks, tracking, scheduling, cheaper NT, a library's attacks
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

lock: $(READY) ## refresh requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

clean: ## remove .venv and caches, keep the studies
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
