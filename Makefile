# One virtual environment in the project folder, filled once with the pinned versions that were
# tested. `make` alone lists the targets.

SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV       := .venv
PY         := $(VENV)/bin/python
STAMP      := $(VENV)/.setup-stamp
comma      := ,
# Extras that 'all' leaves out, because not every machine can have them.
BESIDE_ALL := coreai,qualcomm,web
IMAGES     := ../shared/data/masked
OUT        := exports
ROOMS      := coreml_evaluator mobilesam converters parity mobilesam_cli
# e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for the CPU build of
# torch on a Linux machine whose default index serves the CUDA build.
PIP_ARGS   ?=
# What `make phones` passes on, e.g. PHONES_ARGS="--image-size 256 --only gpu".
PHONES_ARGS ?=
# A process for each core, four at most: converters use one core and up to 3 GB each.
PYTEST_ARGS ?= -q --durations=15 -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo web phones test test-fast lint rooms wheel-test android-test \
        swift-test parity lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(STAMP) ## virtual environment in .venv with the pinned dependencies
	@:

$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	if [ ! -x $(PY) ]; then \
	  for python in python3.11 python3; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      found=$$python; break; \
	    fi; \
	  done; \
	  if [ -z "$${found:-}" ]; then \
	    echo "make setup: Python 3.11 or newer is needed, and neither python3.11 nor python3 on PATH is one." >&2; \
	    exit 1; \
	  fi; \
	  $$found -m venv $(VENV); \
	fi
	@echo "Installing the pinned dependencies into $(VENV) (about 2.6 GB, 2 minutes) ..."
	@$(PY) -m pip install -qq --disable-pip-version-check --no-input $(PIP_ARGS) \
	  -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: setup ## export fp32 and fp16 of every target with the demo weights, check them, write the report
	@$(VENV)/bin/mobilesam demo

phones: setup ## the files on what stands in for a phone's GPU, ARM cores and NPU: hours at first
	@for extra in $(subst $(comma), ,$(BESIDE_ALL)); do \
	  $(PY) -m pip install -qq --disable-pip-version-check --no-input $(PIP_ARGS) \
	    -c constraints.txt -e ".[$$extra]" \
	  || echo "make phones: goes on without the extra '$$extra', which cannot be installed here" >&2; \
	done
	@$(VENV)/bin/mobilesam phones $(PHONES_ARGS)

web: setup ## the page that runs bundles in a browser, built by npm into apps/web/dist
	@$(PY) -c 'from mobilesam.web.page import built_page; print(built_page(say=print))'

lint: setup ## ruff, mypy and the import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo > /dev/null || $(VENV)/bin/lint-imports --no-logo

rooms: setup ## check that imports follow the arrow, and print the drawing (DOT)
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/import-linter drawgraph --show-import-totals $(ROOMS)

test: lint ## lint, then every test
	@$(PY) -m pytest $(PYTEST_ARGS)

test-fast: setup ## the tests that convert nothing and are not marked slow
	@$(PY) -m pytest $(PYTEST_ARGS) -m "not slow"

wheel-test: setup ## the wheel in an empty environment, used beside packages called as ours
	@$(PY) -m tests.wheel_check

android-test: setup ## Kotlin's and Java's compilers, fetched at first, and the tests of apps/android/
	@$(PY) -m mobilesam.emulators kotlin
	@$(PY) -m pytest -q -rs tests/apps/test_android.py

swift-test: setup ## Swift's compiler, fetched at first, and the tests of apps/apple/
	@$(PY) -m mobilesam.emulators swift
	@$(PY) -m pytest -q -rs tests/apps/test_swift.py

parity: setup ## every target in every scheme, judged also on the photos of ../shared if there
	@$(VENV)/bin/mobilesam export --target all --scheme all --out $(OUT)
	@$(VENV)/bin/mobilesam parity $(OUT) --report reports \
	  $$(if [ -d $(IMAGES) ]; then echo --images $(IMAGES); fi)

lock: setup ## rewrite constraints.txt from what .venv holds now, every extra included
	@$(PY) -m pip install -qq --disable-pip-version-check --no-input $(PIP_ARGS) \
	  -e ".[all,dev,ray,$(BESIDE_ALL)]"
	@{ sed -n '/^#/p' constraints.txt; \
	   $(PY) -m pip freeze -qq --all --exclude-editable | grep -vE '^(pip|wheel)==' \
	   | sed -E 's/^(torch==[^+]*)\+.*/\1/'; } > constraints.txt.tmp
	@mv constraints.txt.tmp constraints.txt

clean: ## remove the environment, caches and everything that was built
	rm -rf $(VENV) build dist $(OUT) reports .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
