# make demo          sets up .venv, trains on real images, exports, and ends with a table and a report page
# make test          sets up .venv, then checks style, types and behaviour; TESTS=tests/export for one directory
# make test-changed  the tests that the change since the last commit can affect
# make test-slow     the long tests, the code of the docs, C++ under sanitizers, a real Triton
# make soak          the longest tests: many kills, many requests, many images; make soak-kills and so on for one of them
# make bench         all benchmarks with the baselines, and a page with tables and plots: about 18 minutes on two cores;
#                    QUICK=--quick only shows that everything runs
# make bench-page    copies that page into docs/
# make bench-input   our loaders beside other projects', in turns, on 600 JPEGs as they are and prepared
# make docs          builds the documentation site into build/site
# make api           writes the list of the public interface; make api-released when a version is released
# make release       wheel, source distribution, sbom.json and SHA256SUMS of the committed files, into dist/
# make triton, make tensorrt-headers   what two of the slow tests need beside .venv
PYTHON ?= python3
BIN := .venv/bin

.PHONY: bench bench-page release api api-released install baselines bench-input demo test test-changed test-slow soak lint clean docs triton tensorrt-headers

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
	    --editable '.[rtx,serve,demo,docs,dev]'
	touch $@

# Other projects' loaders and the packages of the examples, on top of .venv: all use the same torch and DALI.
BASELINES := benchmarks/baselines

baselines: $(BASELINES)/.venv/installed

$(BASELINES)/.venv/installed: .venv/installed $(BASELINES)/requirements.txt
	$(BIN)/python -m venv $(BASELINES)/.venv
	$(BIN)/python -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
	    > $(BASELINES)/.venv/lib/$$($(BIN)/python -c "import sys; print('python%d.%d' % sys.version_info[:2])")/site-packages/over.pth
	$(BASELINES)/.venv/bin/python -m pip install --quiet --requirement $(BASELINES)/requirements.txt
	-$(BASELINES)/.venv/bin/python -m pip install --quiet --requirement $(BASELINES)/requirements-ffcv.txt \
	    || echo "FFCV does not compile here; see $(BASELINES)/requirements-ffcv.txt"
	touch $@

# Made once: a newer environment does not need other images.
runs/bench/files: | .venv/installed
	$(BIN)/python -m benchmarks.photographs $@

runs/bench/prepared: | runs/bench/files
	$(BIN)/alexnet-fast prepare runs/bench/files $@

# An interrupted run is resumed: figures of the same commit on this machine are reused.
bench: baselines runs/bench/prepared
	$(BIN)/python -m benchmarks runs/bench/files runs/bench/prepared --baselines $(BASELINES) --output runs/bench/results $(QUICK)

bench-page:
	mkdir -p docs/benchmarks
	cp runs/bench/results/benchmarks.md docs/
	cp runs/bench/results/benchmarks/*.png runs/bench/results/results.json docs/benchmarks/

bench-input: baselines runs/bench/prepared
	$(BIN)/alexnet-fast bench input runs/bench/prepared --baselines $(BASELINES)
	$(BIN)/alexnet-fast bench input runs/bench/files --baselines $(BASELINES)

demo: install
	$(BIN)/alexnet-fast demo

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p alexnet_fast -p benchmarks
	find serve/cpp tests -name '*.[ch]pp' | xargs $(BIN)/clang-format --style=file:serve/cpp/.clang-format --dry-run -Werror

# One directory: make test TESTS=tests/export
TESTS ?= tests

test: lint
	@echo "$(TESTS): about 6 minutes for all on two quiet cores"
	.ci/tests 'not slow and not soak' $(TESTS)

# The tests that the change since a commit can affect, by imports: make test-changed SINCE=main
SINCE ?= HEAD

test-changed: lint
	.ci/tests 'not slow and not soak' $$($(BIN)/python tests/changed.py $(SINCE))

# A Triton of its own Python environment: its Python backend returns empty arrays with numpy 2.
triton: .venv/triton/installed

.venv/triton/installed: .venv/installed
	$(PYTHON) -m venv .venv/triton
	.venv/triton/bin/python -m pip install --quiet nvidia-pytriton==0.7.0 'numpy<2' msgspec==0.23.0 \
	    "onnxruntime==1.31.1; python_version >= '3.11'" "onnxruntime==1.23.2; python_version < '3.11'" \
	    "pillow==13.0.0; python_version >= '3.11'" "pillow==12.3.0; python_version < '3.11'"
	echo $(CURDIR) > $$(.venv/triton/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/alexnet_fast.pth
	touch $@

# For the compiler only: nothing of it runs without a GPU.
tensorrt-headers: .venv/tensorrt-headers/installed

.venv/tensorrt-headers/installed: .venv/installed
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/tensorrt-headers kernel-lens==2.0.1 \
	    nvidia-cuda-runtime-cu12==12.9.79 nvidia-cuda-nvcc-cu12==12.9.86
	touch $@

test-slow: install baselines triton tensorrt-headers
	.ci/tests 'slow and not soak' $(TESTS)

release: install
	.ci/release dist

api: install
	$(BIN)/python tests/api/public_api.py

api-released: install
	$(BIN)/python tests/api/public_api.py released

# Links, anchors and code blocks are checked by tests/docs; this is the same build.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Each test prints its figures in a line, and keeps them in runs/soak/results.jsonl; see docs/reliability.md.
SOAK_kills := -m soak tests/training/test_kills.py tests/soak/test_killed_inputs.py
SOAK_images := -m soak tests/soak/test_odd_images.py tests/serve/test_bad_images.py
SOAK_signals := -m soak tests/soak/test_signals.py
SOAK_bad-images := -m soak tests/soak/test_bad_runs.py tests/pipelines/test_fuzzed_batches.py
SOAK_files := tests/export/test_damage.py tests/download/test_hostile.py
SOAK_fuzz := -m soak tests/serve/test_fuzz.py
SOAK_memory := -m soak -k memory tests/soak/test_training_memory.py tests/bench/test_memory.py tests/serve/test_endurance.py
SOAK_accidents := tests/training/test_accidents.py tests/prepare/test_prepare_accidents.py \
    tests/export/test_export_accidents.py tests/weights/test_features_accidents.py \
    tests/scan/test_scan_accidents.py tests/plots/test_image_accidents.py \
    tests/download/test_fetching_accidents.py tests/serve/test_clock_jumps.py tests/data/test_index_cache.py \
    tests/export/test_engine_cache.py::test_the_least_recently_used_is_found_under_a_wrong_clock
SOAK_demo := -m soak tests/demo
SOAK_clients := -m soak tests/serve/test_slow_clients.py
SOAK_others := -m soak -k 'not memory' tests/serve/test_lifecycle.py tests/serve/test_endurance.py \
    tests/serve/test_other_clients.py tests/training/test_real_accuracy.py tests/training/test_transfer_accuracy.py
SOAK_PARTS := $(addprefix soak-,kills signals images bad-images files fuzz memory accidents demo clients others)
.PHONY: $(SOAK_PARTS)

$(SOAK_PARTS): soak-%: install
	SOAK=1 $(BIN)/python -m pytest $(SOAK_$*)

soak: $(SOAK_PARTS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
