# `make up` runs the whole platform, `make test` tests it. Both set themselves up first.

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
PRODUCTION := DEBUG=0 HTTPS_ONLY=1 ALLOWED_HOSTS=plant.example.com CSRF_TRUSTED_ORIGINS=https://plant.example.com

.PHONY: up setup test lint lock bench
.DEFAULT_GOAL := up

up: setup
	@exec $(BIN)/python manage.py up

setup: $(VENV)/installed-base

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations 15 --cov --cov-report=term:skip-covered

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checks makemigrations --check --dry-run
	SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') $(PRODUCTION) \
		$(BIN)/python manage.py check --deploy --fail-level WARNING

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.run

# Writes requirements/*.txt from requirements/*.in: exact versions and hashes, for every supported Python and system.
lock: $(VENV)/installed-dev
	cd requirements && for name in base dev; do ../$(BIN)/$(COMPILE) $$name.in -o $$name.txt || exit 1; done

# The stamps are newer than what was installed, so that a second start installs nothing.
$(VENV)/installed-base: requirements/base.txt | $(VENV)/bin/pip
	@echo "Installing the requirements into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r $<
	@touch $@

$(VENV)/installed-dev: requirements/dev.txt requirements/gauntlets.txt | $(VENV)/bin/pip
	@echo "Installing the requirements for development into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/gauntlets.txt
	@touch $@ $(VENV)/installed-base

$(VENV)/bin/pip:
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
		"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || continue; \
		if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
			echo "$$python lacks the venv module: install it (Debian, Ubuntu: apt install python3-venv), or name another Python: make up PYTHON=/path/to/python3." >&2; \
			exit 1; \
		fi; \
		echo "Creating $(VENV) with $$("$$python" --version) ..."; \
		exec "$$python" -m venv --clear $(VENV); \
	done; \
	echo "No Python 3.11, 3.12 or 3.13 was found: install one, or name it: make up PYTHON=/path/to/python3." >&2; \
	exit 1
