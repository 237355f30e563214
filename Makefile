# `make demo` and `make test` need Python 3.11 or newer, git and make, and set up the rest in .venv/.

# Name a Python to use another than the newest on the path; it matters only until .venv/ exists.
PYTHON ?=
# For example: make test PYTEST_ARGS="-x -k quota"
PYTEST_ARGS ?=
# For example: make simulate SIMULATE_ARGS="--seed 7 --days 1"
SIMULATE_ARGS ?=
# For example: make lock LOCK_ARGS=--upgrade
LOCK_ARGS ?=

PY := .venv/bin/python
INSTALL := PYTHON="$(PYTHON)" tools/install
UV := uv==0.13.9
CODE := $(wildcard src tests bench)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types format pulled-plug fuzz simulate bench drift docs assets locale screenshots lock wheel clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# Ctrl-C is how a demo ends, so it is not an error.
demo: .venv/run.stamp ## Set up and run the demo
	@trap : INT; $(PY) -m catchment demo || { status=$$?; test $$status -eq 130 || exit $$status; }

test: lint types ## Set up and run every check: lint, types, house rules, tests
	$(PY) -m pytest $(PYTEST_ARGS)

lint: .venv/test.stamp ## Check style and format
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)

types: .venv/test.stamp ## Check types
	$(PY) -m mypy $(CODE)

format: .venv/test.stamp ## Rewrite the code in the house's format
	$(PY) -m ruff check --fix --exit-zero --quiet $(CODE)
	$(PY) -m ruff format $(CODE)

pulled-plug: .venv/test.stamp ## Kill the program, its writer and its database 200 times in each test
	PULLED_PLUG_KILLS=200 $(PY) -m pytest tests/test_pulled_plug.py -rP $(PYTEST_ARGS)

fuzz: .venv/test.stamp ## Make 1,000 calls of every kind to each endpoint, other ones each time
	FUZZ_CASES=1000 $(PY) -m pytest tests/acceptance/test_schemathesis.py $(PYTEST_ARGS)

simulate: .venv/test.stamp ## Play fresh seeds of the simulation for ten minutes
	$(PY) -m tests.simulation $(SIMULATE_ARGS)

bench: .venv/bench.stamp ## Set up and run the benchmark
	$(PY) -m bench

drift: ## Hold a copy of this tree to the newest releases of the stock clients
	PYTHON="$(PYTHON)" tools/drift $(PYTEST_ARGS)

docs: .venv/run.stamp ## Write docs/coverage.md anew from the table of endpoints
	@mkdir -p docs
	$(PY) -m catchment endpoints --markdown > docs/coverage.md.new || { rm -f docs/coverage.md.new; exit 1; }
	mv docs/coverage.md.new docs/coverage.md

assets: ## Build the dashboard's script and style anew; needs node
	npm ci --prefix tools/assets --ignore-scripts
	npm run build --prefix tools/assets

locale: .venv/test.stamp ## Write the dashboard's catalogues anew
	$(PY) tools/catalogues.py

# Each lock is held to the pins of the ones before it, because all three are installed side by side.
COMPILE := $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(LOCK_ARGS) pyproject.toml requirements/run.in

screenshots: .venv/test.stamp ## Take pictures of every page of the dashboard, into screenshots/
	$(PY) -m tests.browser.screenshots

lock: ## Write requirements/*.txt anew
	$(INSTALL) $(UV)
	$(COMPILE) --output-file requirements/run.txt
	$(COMPILE) requirements/test.in --constraint requirements/run.txt --output-file requirements/test.txt
	$(COMPILE) requirements/bench.in --constraint requirements/run.txt --constraint requirements/test.txt \
		--output-file requirements/bench.txt

wheel: .venv/run.stamp ## Build dist/catchment-*.whl
	$(PY) -m flit_core.wheel --outdir dist

clean: ## Remove everything that make has made
	rm -rf .venv dist screenshots .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/acceptance/js/node_modules
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/run.stamp: requirements/run.txt pyproject.toml tools/install
	@echo "Setting up .venv ..."
	@$(INSTALL) --require-hashes --requirement requirements/run.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test.stamp: .venv/run.stamp requirements/test.txt
	@echo "Adding the test tools to .venv ..."
	@$(INSTALL) --require-hashes --requirement requirements/test.txt
	@touch $@

.venv/bench.stamp: .venv/run.stamp requirements/bench.txt
	@echo "Adding the benchmark's opponent to .venv ..."
	@$(INSTALL) --require-hashes --requirement requirements/bench.txt
	@touch $@
