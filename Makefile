# Every target installs what it needs into .venv and says so. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
NEWEST := .venv-newest/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-unit test-platforms test-all test-postgres test-hosts test-faults test-ansible-newest lint docs site lock bench-provision bench-deploy bench-partition clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-20s %s\n", $$1, $$2}'

$(READY): requirements/dev.txt pyproject.toml
	@echo "==> Python packages from requirements/dev.txt (hash-pinned) into .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: PYTHON=python3.11 make ..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "the venv module is missing: apt-get install python3-venv"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python tools/link_checkout.py
	@touch $@

demo: $(READY) ## A throwaway host: provisioned, deployed to, partitioned, rolled back
	@$(BIN)/python tools/demo.py

demo-down: $(READY) ## Remove the host of the demo, and what it wrote
	@$(BIN)/python tools/demo.py --down

test: $(READY) lint test-unit test-platforms ## The tests: unit, PostgreSQL (oldest and newest), one host lifecycle
	@$(BIN)/pytest -n auto tests/postgres
	@$(BIN)/pytest tests/hosts

test-unit: $(READY) ## Unit tests only; answers in seconds
	@$(BIN)/pytest -q -n auto tests/unit

test-platforms: $(READY) ## Every role against what each release of Debian and Ubuntu knows
	@$(BIN)/pytest -q -n auto tests/platforms

test-all: $(READY) lint test-unit test-platforms ## Every matrix: all PostgreSQL versions, all Debian releases, faults
	@$(MAKE) --no-print-directory -j2 test-postgres test-hosts
	@$(MAKE) --no-print-directory test-faults

test-postgres: $(READY) ## Partitions on all PostgreSQL versions, in the time that others leave
	@HOSTWRIGHT_PG=all nice $(BIN)/pytest -n auto tests/postgres

test-hosts: $(READY) ## All that needs hosts, on all Debian releases, but for the faults
	@HOSTWRIGHT_HOSTS=all $(BIN)/pytest -n auto --dist loadfile --ignore=tests/hosts/faults tests/hosts

test-faults: $(READY) ## A deploy under each fault, and at each of its points: twelve of the 132 cells of docs/faults.md, and the order of writes
	@HOSTWRIGHT_HOSTS=all $(BIN)/pytest --durations=0 --durations-min=5 tests/hosts/faults

.venv-newest/.ready: requirements/newest.txt pyproject.toml
	@echo "==> Python packages from requirements/newest.txt (hash-pinned) into .venv-newest"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: PYTHON=python3.11 make ..."; exit 2; }
	@test -x $(NEWEST)/python || $(PYTHON) -m venv .venv-newest
	@$(NEWEST)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/newest.txt
	@$(NEWEST)/python tools/link_checkout.py
	@touch $@

test-ansible-newest: .venv-newest/.ready ## The newest Ansible: lint, syntax, templates, one host lifecycle
	@export PATH=$(CURDIR)/$(NEWEST):$$PATH; ansible-lint --offline -q \
	  && ansible-playbook --syntax-check -i inventory/example playbooks/*.yml \
	  && $(NEWEST)/pytest -q -n auto tests/unit/roles tests/unit/hosts/test_platforms.py tests/unit/test_playbooks.py tests/platforms \
	  && $(NEWEST)/pytest tests/hosts

lint: $(READY) ## ruff, mypy, yamllint, ansible-lint
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy
	@$(BIN)/yamllint --strict . && $(BIN)/ansible-lint --offline -q

docs: $(READY) ## Make the reference pages from the code
	@for tool in role_readmes site_reference fab_reference faults_table peers_table; do $(BIN)/python tools/$$tool.py || exit; done

site: $(READY) ## The documentation as a site, in site/; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock: ## Renew the hash-pinned locks (needs uv)
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make lock' pyproject.toml -o requirements/runtime.txt
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make lock' -c requirements/runtime.txt pyproject.toml --group dev -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --custom-compile-command 'make lock' --override requirements/newest.in pyproject.toml --group dev -o requirements/newest.txt

bench-provision: $(READY) ## First and second provision, beside a plain playbook
	@$(BIN)/python bench/provision/bench_provision.py

bench-deploy: $(READY) ## fab deploy beside Capistrano, pyinfra and a hand-written floor
	@$(BIN)/python bench/deploy/bench_deploy.py

bench-partition: $(READY) ## Partition strategies beside pg_partman and plain tables
	@$(BIN)/python bench/partition/bench_partition.py

clean: ## Remove caches, the virtualenv and the documentation's site
	rm -rf .venv .venv-newest .cache site .mypy_cache .ruff_cache .pytest_cache .hypothesis
