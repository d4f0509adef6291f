# Everything runs in .venv, made from the lock. With ROS 2 sourced (ROS_DISTRO set) the venv sees the system's
# packages and rclpy comes from there; without it the ROS wheels of the lock are installed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests without processes that talk in real time: they may share the cores.
SHARING := $(addprefix test/,network data perception inference evaluation training cli/test_replay_command.py)

.PHONY: help venv demo lint types test test-slow check clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

venv: $(STAMP)  ## the environment (.venv), from requirements.lock

$(STAMP): requirements.lock requirements-ros.lock setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "requirements.lock needs Python >= 3.11: set PYTHON=python3.11 (or newer)")'
	$(PYTHON) -m venv $(if $(ROS_DISTRO),--system-site-packages) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock $(if $(ROS_DISTRO),,-r requirements-ros.lock)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## a bag of a night-to-day drive through the real node, EO cut in the middle: demo_out/report.html
	$(BIN)/csk demo --out demo_out

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

test: lint types  ## lint, types, import direction, unit, ROS and end-to-end tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(SHARING)
	$(BIN)/python -m pytest $(addprefix --ignore=,$(SHARING))

test-slow: $(STAMP)  ## the tests that take longer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n auto --dist loadfile $(SHARING)
	$(BIN)/python -m pytest -m slow $(addprefix --ignore=,$(SHARING))

clean:  ## remove the environment and what the checks left
	rm -rf $(VENV) build install log *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
