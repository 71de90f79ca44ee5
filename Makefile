# demur. `make demo` and `make test` need nothing prepared: they build .venv themselves.

PYTHON ?= python3
TRAIN ?= /usr/share/datasets/fashion-mnist
VENV := .venv
EXTRAS := .venv-extras
SCALE := .venv-scale
RUN := $(VENV)/bin
SERVICES := moto[server]==5.2.5 obstore==0.12.1 ray==2.60.0
PAIR := torch==2.14.1 torchvision==0.29.1
FEATURES := test,peers,sign,dicom,hf,keras,onnx-gradients,timm,torchvision,webdataset
SHARED := $(abspath $(wildcard ../shared))
ifneq ($(SHARED),)
export DEMUR_SHARED ?= $(SHARED)
endif
ATEN ?= default avx2 avx512
ONEDNN ?= SSE41 AVX512_CORE
NUMERICAL := $(addprefix tests/,attacks attribution classifier corruptions filters guard lipschitz signals training \
  pipeline/run pipeline/sanity test_evidence.py house/test_repeats.py)
CANDIDATES := $(PYTHON) python3.14 python3.13 python3.12 python3.11
OLD_PYTHON = demur needs Python 3.11 or newer and found none among: $(CANDIDATES). Name one: make PYTHON=/path/to/python3
NO_TRAIN = There is no folder $(TRAIN). Install Debian's package dataset-fashion-mnist, or name a folder of its four IDX \
files: make weights TRAIN=FOLDER

.SILENT:
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-cpus test-extras test-scale mutants check lint format weights bench clean

help: ## say what each target does
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.stamp ## audit the shipped classifier on Fashion-MNIST; its last line says where the report is
	$(RUN)/demur audit

test: $(VENV)/.stamp ## every test; those on real images and weights need DEMUR_SHARED
	OMP_NUM_THREADS=1 $(RUN)/pytest -n auto --dist loadscope

test-slow: $(VENV)/.stamp ## promises at full length, for a release: kills at any moment, published figures, all planted faults
	OMP_NUM_THREADS=1 $(RUN)/pytest -n auto --dist load -m slow

test-cpus: $(VENV)/.stamp ## the numerical tests on the kernels of six kinds of CPU, of those that this one can be
	for aten in $(ATEN); do for onednn in $(ONEDNN); do \
	  echo "ATEN_CPU_CAPABILITY=$$aten ONEDNN_MAX_CPU_ISA=$$onednn"; \
	  ATEN_CPU_CAPABILITY=$$aten ONEDNN_MAX_CPU_ISA=$$onednn OMP_NUM_THREADS=1 \
	    $(RUN)/pytest -q -n auto --dist loadscope -m 'not slow and not browser' $(NUMERICAL) || exit; \
	done; done

test-extras: $(EXTRAS)/.stamp ## agreement with other libraries, of attacks, models, data and signing, in an environment of its own
	OMP_NUM_THREADS=1 $(EXTRAS)/bin/pytest tests/extras

test-scale: $(SCALE)/.stamp ## audits on two nodes of Ray and in an object store that fails, in an environment of their own
	OMP_NUM_THREADS=1 $(SCALE)/bin/python -m pytest tests/scale

mutants: $(VENV)/.stamp ## break the code COUNT times on purpose: the tests must notice nine of ten; SEED draws the places
	$(RUN)/python tools/mutants.py --seed $(or $(SEED),0) --count $(or $(COUNT),100)

check: test lint ## everything a change must pass

lint: $(VENV)/.stamp ## format, ruff, mypy, import contract
	$(RUN)/ruff format --check
	$(RUN)/ruff check
	$(RUN)/mypy
	$(RUN)/lint-imports

format: $(VENV)/.stamp ## rewrite the code as the checks want it
	$(RUN)/ruff check --fix
	$(RUN)/ruff format

weights: $(VENV)/.stamp ## train the shipped classifiers again from the images in TRAIN
	test -d "$(TRAIN)" || { echo "$(NO_TRAIN)" >&2; exit 1; }
	$(RUN)/python tools/weights.py --train "$(TRAIN)"

bench: $(VENV)/.stamp ## every benchmark, quickly; each ends with one line of JSON
	for script in benchmarks/[a-z]*.py; do $(RUN)/python "$$script" --quick || exit; done

clean: ## remove the environment, caches and runs
	rm -rf $(VENV) $(EXTRAS) $(SCALE) runs dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp: pyproject.toml constraints.txt
	echo "Building $(VENV), once: a few minutes." >&2
	for python in $(CANDIDATES); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec "$$python" -m venv $(VENV); \
	  fi; \
	done; echo "$(OLD_PYTHON)" >&2; exit 1
	$(RUN)/pip install -qq --disable-pip-version-check --no-input -c constraints.txt -e '.[test]'
	touch $@

# torchvision comes from PyPI with the torch it was built against, of another version and 5 GB larger than that of the
# constraints. torchattacks and adv-lib ask for an old requests and for visdom, which no longer builds; their attacks
# need neither.
$(EXTRAS)/.stamp: $(VENV)/.stamp
	echo "Building $(EXTRAS), once: 6 GB and some minutes." >&2
	$(RUN)/python -m venv $(EXTRAS)
	grep -v '^torch==' constraints.txt > $(EXTRAS)/constraints.txt
	$(EXTRAS)/bin/pip install -qq --disable-pip-version-check --no-input -c $(EXTRAS)/constraints.txt $(PAIR) \
	  -e '.[$(FEATURES)]'
	$(EXTRAS)/bin/pip install -qq --disable-pip-version-check --no-input --no-deps torchattacks==3.5.1 adv-lib==0.2.8
	touch $@

# Beside the packages of $(VENV), which it sees, it has only what those services need.
$(SCALE)/.stamp: $(VENV)/.stamp
	echo "Building $(SCALE), once: 0.5 GB." >&2
	$(RUN)/python -m venv $(SCALE)
	$(RUN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' > \
	  $$($(SCALE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/others.pth
	$(SCALE)/bin/python -m pip install -qq --disable-pip-version-check --no-input $(SERVICES)
	touch $@
