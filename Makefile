# make demo   sets everything up in .venv, trains on real pictures, exports, ends with a table and a report page
# make test   sets everything up in .venv, then checks style, types and behaviour
# make soak   the long evidence: many kills, many requests, many pictures
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test test-slow soak lint clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
	    --editable '.[rtx,serve,demo,dev]'
	touch $@

demo: install
	$(BIN)/alexnet-fast demo

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p alexnet_fast

test: lint
	$(BIN)/python -m pytest -m 'not slow and not soak'

test-slow: install
	$(BIN)/python -m pytest -m 'slow and not soak'

soak: install
	$(BIN)/python -m pytest -m soak

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
