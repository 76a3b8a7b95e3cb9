# make demo   sets everything up in .venv, trains on real pictures, exports, ends with a table and a report page
# make test   sets everything up in .venv, then checks style, types and behaviour
# make bench-input   our loaders beside other projects', in turns, on 600 JPEGs as they are and prepared
# make soak   the long evidence: many kills, many requests, many pictures
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install peers bench-input demo test test-slow soak lint clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
	    --editable '.[rtx,demo,dev]'
	touch $@

# Other projects' loaders, and what the examples need: laid over .venv, so that all use the same torch and DALI.
PEERS := alexnet_fast/bench/peers

peers: $(PEERS)/.venv/installed

$(PEERS)/.venv/installed: .venv/installed $(PEERS)/requirements.txt
	$(BIN)/python -m venv $(PEERS)/.venv
	$(BIN)/python -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
	    > $(PEERS)/.venv/lib/$$($(BIN)/python -c "import sys; print('python%d.%d' % sys.version_info[:2])")/site-packages/over.pth
	$(PEERS)/.venv/bin/python -m pip install --quiet --requirement $(PEERS)/requirements.txt
	-$(PEERS)/.venv/bin/python -m pip install --quiet --requirement $(PEERS)/requirements-ffcv.txt \
	    || echo "FFCV does not compile here; see $(PEERS)/requirements-ffcv.txt"
	touch $@

runs/bench/files: .venv/installed
	$(BIN)/python -m alexnet_fast.bench.photographs $@

runs/bench/prepared: runs/bench/files
	$(BIN)/alexnet-fast prepare $< $@

bench-input: peers runs/bench/prepared
	$(BIN)/alexnet-fast bench input runs/bench/prepared --peers $(PEERS)
	$(BIN)/alexnet-fast bench input runs/bench/files --peers $(PEERS)

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
