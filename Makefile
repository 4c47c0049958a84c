# What a fresh clone on a bare Debian 12 can do (python3, python3-venv, make, git).
# Every target first makes the environment that it needs, in .venv, from the hashed lists in deploy/lock.
PYTHON ?= python3
ARGS ?=
UPGRADE ?=

PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
# Most tests wait for what they started in other processes: three at a time keep two cores busy. Each process takes
# whole files, and has servers of its own.
AT_ONCE := --numprocesses 3 --dist loadfile --no-loadscope-reorder
LOCKED := $(PIP) --require-hashes --only-binary :all:
COMPILE := .cache/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)

.PHONY: demo run test check format lock

demo: .venv/run.stamp    ## the whole system on sample contacts; ARGS=--exit ends by itself
	@.venv/bin/python -m streams demo $(ARGS)

run: .venv/run.stamp     ## the same on the real clock; your own promises: make run ARGS="--config heardback.yaml"
	@HEARDBACK_CONFIG="$${HEARDBACK_CONFIG:-deploy/examples/minimal.yaml}" .venv/bin/python -m streams run $(ARGS)

test: .venv/dev.stamp    ## everything, against real servers; ARGS goes to pytest, such as ARGS="-n0 -x tests/alerting"
	@bash tests/servers/install.sh
	@env --unset=PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest $(AT_ONCE) $(ARGS)

check: .venv/dev.stamp   ## lint, format, types, import contracts
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

format: .venv/dev.stamp  ## what `check` would ask for, done
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

lock: .cache/uv/bin/uv   ## resolves again what changed in pyproject.toml; UPGRADE=--upgrade takes the newest of all
	$(COMPILE) pyproject.toml --extra dev --group build --output-file deploy/lock/dev.txt
	$(COMPILE) pyproject.toml --constraint deploy/lock/dev.txt --output-file deploy/lock/run.txt
	$(COMPILE) --group build --constraint deploy/lock/dev.txt --output-file deploy/lock/build.txt

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.stamp: deploy/lock/run.txt deploy/lock/build.txt pyproject.toml | .venv/bin/python
	@echo "Installing what heardback needs into .venv (once, well under a minute) ..."
	@$(LOCKED) -r deploy/lock/run.txt -r deploy/lock/build.txt
	@$(PIP) --no-deps --no-index --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: deploy/lock/dev.txt .venv/run.stamp
	@echo "Installing what its tests need into .venv (once) ..."
	@$(LOCKED) -r deploy/lock/dev.txt
	@touch $@

.cache/uv/bin/uv:
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/pip install --quiet --disable-pip-version-check uv
