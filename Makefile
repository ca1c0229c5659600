# Everything a newcomer needs: make demo, make test.  Needs git, make and Python 3.11+ with venv, nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_SECONDS ?=
# What the tests keep for a moment only: in memory where there is room, because every commit waits for the disk.
TMPDIR ?= $(shell test "$$(df -k --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 4194304 2>/dev/null && echo /dev/shm || echo /tmp)

.PHONY: demo test test-long check bench bench-compare soak lock clean

# Two stamps: the demo installs only what it runs on, the tests what they need beside it.
$(VENV)/.demo: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/flowtide demo $(if $(DEMO_SECONDS),--for $(DEMO_SECONDS))

# Many tests wait for a process or a broker more than they compute: four at once on two cores.  A file stays together,
# because its tests share an engine or a broker; the long files come first in the alphabet, and so at the start.
test: $(VENV)/.dev
	TMPDIR=$(TMPDIR) $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# Beside it, as CI runs both: whole processes, kills, browsers, brokers that fail.
test-long: $(VENV)/.dev
	TMPDIR=$(TMPDIR) $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m 'long and not soak' --durations=20

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m bench

# Side by side with nfcapd (nfdump) and nfacctd (pmacct), where they are installed; on a machine that does nothing else.
bench-compare: $(VENV)/.dev
	$(BIN)/python -m bench.compare $(COMPARE)

# Kill trials, line rate and long runs: by hand, before an issue is closed.
soak: $(VENV)/.dev
	$(BIN)/python -m pytest -m soak -o addopts="-ra --strict-markers --strict-config"

lock: $(VENV)/.dev
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --build-deps-for editable \
		--extra embedded --extra console --extra grafana --extra report -o requirements.lock pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --build-deps-for editable \
		--extra embedded --extra console --extra grafana --extra report --extra native --extra dev -o requirements-dev.lock pyproject.toml

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
