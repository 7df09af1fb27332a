# make demo    runs the real thing for a minute       make test         passes every test that needs no root
# make check   lint, types, import rules, Pythons     make test-system  needs root, an emulator or a camera stack
# make bench   times the models and what is around    make bench-peers  the models next to what others pick
# make train   makes the emotion network again: hours; DATA=FOLDER holds ferplus-train.npz and ferplus-valid.npz

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # or each program that a test starts compiles mien anew
.PHONY: help demo test check lint types rules pythons bench bench-peers train test-system deb test-arm64 test-picamera2 test-machine lock clean

CAMERA ?= composite
BROKER ?=
SECONDS_TO_WATCH ?= 60
DATA ?= ../shared/data
JSON ?=
SUITABLE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	command -v $$p >/dev/null && $$p -c '$(SUITABLE)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

help:
	@sed -n '1,4s/^# //p' Makefile

$(VENV)/made:
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(SUITABLE)' 2>/dev/null; then \
		echo "mien needs Python 3.10 to 3.13; $(if $(PYTHON),'$(PYTHON)' is not one,none is on the path). Install it (Debian, Ubuntu," \
			"Raspberry Pi OS: sudo apt install python3 python3-venv), or name it: make PYTHON=python3.12" >&2; \
		exit 1; fi
	@if ! "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "$(PYTHON) has no venv. Install it (Debian, Ubuntu, Raspberry Pi OS: sudo apt install python3-venv)." >&2; exit 1; fi
	@echo "making $(VENV) with $$("$(PYTHON)" --version)"
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

# What runs, and what runs the demo; pinned, with hashes.
$(VENV)/demo: requirements.lock pyproject.toml $(VENV)/made
	@echo "installing what the demo needs"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The same, with what checks and tests need.
$(VENV)/dev: requirements-dev.lock $(VENV)/demo
	@echo "installing what checks and tests need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/demo
	@$(BIN)/mien demo --camera "$(CAMERA)" --seconds $(SECONDS_TO_WATCH) $(if $(BROKER),--broker "$(BROKER)")

test: $(VENV)/dev
	@tests/servers.sh
	@$(BIN)/python -W error -m pytest -n auto --dist worksteal

# Four things that need nothing of each other: make -j2 check, as in .ci/run, types beside the environments of other Pythons.
check: lint types rules pythons

lint: $(VENV)/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/dev
	@$(BIN)/mypy
	@$(BIN)/mypy packaging/deb.py

rules: $(VENV)/dev
	@tests/servers.sh check
	@$(BIN)/python -m pytest -q tests/unit/test_imports.py tests/unit/test_units.py

pythons: $(VENV)/dev
	@$(BIN)/python tests/pythons.py

test-system: $(VENV)/dev
	@tests/servers.sh system
	@$(BIN)/python -m pytest -m system -p no:xdist --timeout 1200

# dist/mien_VERSION_arm64.deb, for a Raspberry Pi; DEB_ARCH=amd64 for a PC. docs/install-raspberry-pi.md
DEB_ARCH ?= arm64
deb: $(VENV)/demo
	@$(BIN)/python packaging/deb.py "$(DEB_ARCH)"

# That package on emulated 64-bit Arm; a part of test-system.
test-arm64: $(VENV)/dev
	@tests/servers.sh system
	@$(BIN)/python -m pytest -m system -p no:xdist tests/system/test_arm64.py

# The camera stacks: the real picamera2 and libcamera, and a whole emulated Arm machine with a V4L2 camera; docs/cameras.md.
test-picamera2: $(VENV)/dev
	@tests/servers.sh system
	@$(BIN)/python -m pytest -m system -p no:xdist -rs -s $(wildcard tests/system/test_picamera2*.py)

test-machine: deb $(VENV)/dev
	@tests/servers.sh system
	@MIEN_MACHINE=1 $(BIN)/python -m pytest -m system -p no:xdist -rs -s tests/system/test_v4l2_machine.py

bench: $(VENV)/demo
	@$(BIN)/mien bench

# mien next to what people would pick instead, which pip and npm put into build/.peers; docs/peers.md.
bench-peers: $(VENV)/demo
	@$(BIN)/python -m models.peers --data "$(DATA)" $(if $(JSON),--json)

# Make the emotion network again: hours. DATA is a folder with ferplus-train.npz and ferplus-valid.npz; runs are kept in RUNS.
RUNS ?= runs
train: $(VENV)/made
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train]'
	@$(BIN)/python -m models.recipe --data "$(DATA)" --out "$(RUNS)"

# Resolve the dependencies of pyproject.toml again, for every Python and processor at once.
lock: $(VENV)/dev
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
		--extra build --extra demo pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
		--extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	@rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
