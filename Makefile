# Two commands do everything on a fresh machine: `make sweep` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: sweep test test-full lint bench studies calibrate zoo clean help

help:
	@echo "make sweep      install, evaluate 240 design points for ResNet-18, print the Pareto front, write a report"
	@echo "make test       install, run the test suite"
	@echo "make test-full  the long tests too (every zoo model traced again)"
	@echo "make lint       ruff, pyright, import rules"
	@echo "make bench      speed, as ratios in one run (installs scalesim in an environment of its own)"
	@echo "make studies    regenerate the studies under reports/studies"
	@echo "make calibrate  synthesise what the cost model is fitted to, where the RTL has changed (hours from nothing)"
	@echo "make zoo        trace the shipped workloads again (needs PyTorch)"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || (echo "error: python3 -m venv must work: on Debian, apt-get install python3-venv" >&2; exit 2)

# Stamps: what was installed, from which pyproject.toml.
$(VENV)/.installed-core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed-core
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable '.[torch,rtl,fpga,board,studies,search,dist,dev]'
	touch $@

# What pip can't bring: a browser, in which the report is tested, and a C++ compiler, for the simulated RTL. Debian's packages, where
# they are missing and we may install them; else the tests that need them say so.
$(VENV)/.installed-system:
	@missing=""; \
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	command -v g++ >/dev/null || missing="$$missing g++"; \
	command -v perl >/dev/null || missing="$$missing perl"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	elif [ -n "$$missing" ]; then echo "not installed, and tests will miss it:$$missing" >&2; fi
	mkdir -p $(VENV) && touch $@

sweep: $(VENV)/.installed-core
	$(BIN)/dse sweep resnet18 --out out/resnet18 --jobs $(JOBS)

test: $(VENV)/.installed-dev $(VENV)/.installed-system
	$(BIN)/python -m pytest -n auto -m "not slow"

test-full: $(VENV)/.installed-dev $(VENV)/.installed-system
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.event_machine
	$(BIN)/python -m benchmarks.rtl_simulation

studies: $(VENV)/.installed-dev
	$(BIN)/python -m reports.studies.sat_speedup
	$(BIN)/python -m reports.studies.rtl_training
	$(BIN)/python -m reports.studies.fpga
	$(BIN)/python -m reports.studies.search
	$(BIN)/python -m reports.studies.closed_form --cost

calibrate: $(VENV)/.installed-dev
	$(BIN)/python -m reports.synthesis
	$(BIN)/python -m reports.synthesis.clock

zoo: $(VENV)/.installed-dev
	$(BIN)/python -m workloads.zoo.regenerate

clean:
	rm -rf out build *.egg-info .pytest_cache .ruff_cache .hypothesis
