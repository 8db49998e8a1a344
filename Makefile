# make demo      render a synthetic data set, train a small X-TFCLIP on it, evaluate both directions (two CPU cores);
#                the last line is the path of a page to open in a browser
# make test      lint, types and the tests but for the long ones, which it counts as deselected
# make test-all  the long tests, too
# make format    put the code in the formatter's shape
# make bench     speed of the full-size model on this machine
# SEED=1         another seed for `make demo`; PYTHON=python3.12 another interpreter (3.10 or newer)

PYTHON ?= python3
SEED ?= 0
VENV := .venv
BIN := $(VENV)/bin
DATA := data/synthetic-$(SEED)
RUN := logs/demo-$(SEED)
RESULTS := results/demo-$(SEED)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.PHONY: demo test test-long test-all format bench clean

$(VENV)/installed: requirements.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed (make PYTHON=...)')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/installed-all: $(VENV)/installed requirements-extra.txt requirements-dev.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-extra.txt --requirement requirements-dev.txt
	touch $@

demo: $(VENV)/installed
	$(BIN)/python -m tools.render_synthetic --output $(DATA) --seed $(SEED) --force
	$(BIN)/python -m tools.render_synthetic --contact_sheet $(RESULTS)/people.png --seed $(SEED)
	$(BIN)/python -m benchmarks.color_histogram --root $(DATA)
	$(BIN)/python train_main.py --config_file configs/demo.yml --output_dir $(RUN) DATASETS.ROOT_DIR $(DATA) SOLVER.SEED $(SEED)
	$(BIN)/python eval_main.py --output_dir $(RUN) --custom_output_dir $(RESULTS) --eval_case all

test: $(VENV)/installed-all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow"

test-long: $(VENV)/installed-all
	$(PYTEST) -m slow

test-all: test test-long

format: $(VENV)/installed-all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.full_model

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
