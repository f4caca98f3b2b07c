# The two commands are `make repro` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
# A build starts Python about twenty times; without bytecode each start would compile all imports again.
unexport PYTHONDONTWRITEBYTECODE

# uv reads neither pip's variables nor its configuration. A folder of wheels holds the right build of torch for this
# machine; without one uv selects the build by the installed driver.
BRIDGE = export UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}"; \
	[ -z "$${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$PIP_INDEX_URL}"; \
	[ -n "$$UV_FIND_LINKS" ] && backend= || backend=--torch-backend=auto

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: install
install: $(STAMP) ## The environment in .venv (Python 3.11 or 3.12), from constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@python="$(PYTHON)"; \
	for candidate in $${python:-python3.11 python3.12 python3 python}; do \
	  if $$candidate -c 'import sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; \
	  then found=$$candidate; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "make install: found no Python 3.11 or 3.12 with venv; install one, or set its path: make install PYTHON=/path/to/python" >&2; \
	  exit 2; \
	fi; \
	[ -x $(VENV)/bin/python ] || $$found -m venv $(VENV)
	@command -v uv >/dev/null || python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	@$(BRIDGE); uv pip install --quiet --python $(VENV)/bin/python $$backend -c constraints.txt -e '.[test]'
	@touch $@

.PHONY: repro
repro: install ## Rebuild what has changed for params.yaml, then print the metrics and where the results are
	@python -m tasks.tools.repro
	@python -m tasks.tools.summary

.PHONY: demo
demo: install ## Turn a sentence into a video with the model of make repro: make demo TEXT="..." (asks without TEXT)
	@python -m tasks.tools.demo -- "$${TEXT:-}"

# Three processes for two processors, because many tests wait.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n 3 --dist loadgroup --max-worker-restart=0

.PHONY: test
test: lint ## The checks of `make lint`, every quick test, and one build of the whole pipeline, its smallest profile
	@$(PYTEST)

.PHONY: test-slow
test-slow: install ## The other tests: builds again, kills and resumes, fails servers, draws in a browser, real clips
	@$(PYTEST) -m slow

.PHONY: test-servers
test-servers: install ## The quick part of test-operations: servers, alerts, promotion, rollback (needs PostgreSQL)
	@OMP_NUM_THREADS=1 python -m pytest -m "operations and quick" tests/operations

.PHONY: coverage
coverage: install ## Branch coverage, subprocesses included, as a table: make coverage T=tests/unit (all by default)
	@rm -rf runs/coverage && mkdir -p runs/coverage
	@export COVERAGE_FILE="$(CURDIR)/runs/coverage/data" OMP_NUM_THREADS=1; code=0; \
	coverage run -m pytest -n 3 --dist loadgroup --max-worker-restart=0 \
	  -m 'not gpu and not packaging and not fuzz and not operations and not soak' $(T) || code=$$?; \
	coverage combine --quiet && coverage json --quiet -o runs/coverage/report.json; \
	python -m tasks.tools.coverage; exit $$code

# The module, or a pattern, and the tests that should notice its mutants: by default the unit tests of its package.
M ?= mambatalk/metrics/*
MUTATION_TESTS = $(or $(T),tests/unit/$(word 2,$(subst /, ,$(M))))

.PHONY: mutation
mutation: install ## Mutation testing of one module: make mutation M=mambatalk/metrics/srgr.py
	@rm -rf runs/mutation && mkdir -p runs/mutation
	@git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t runs/mutation
	@cd runs/mutation && printf '%s\n' '[mutmut]' 'source_paths=mambatalk' 'only_mutate=$(M)' 'use_setproctitle=false' \
	  'also_copy=' '  tests' '  tasks' '  flows' '  infra' '  params.yaml' '  dvc.yaml' \
	  'pytest_add_cli_args_test_selection=$(MUTATION_TESTS)' > setup.cfg
	@cd runs/mutation && OMP_NUM_THREADS=1 mutmut run --max-children 2
	@cd runs/mutation && mutmut results | awk '/survived|no tests/ {sub(":$$", "", $$1); print $$1}' \
	  | while read -r mutant; do mutmut show "$$mutant"; done

.PHONY: fuzz
fuzz: install ## Thousands of damaged files through the readers: make fuzz (or COUNT=100000)
	@FUZZ_COUNT="$(COUNT)" nice python -m pytest -n 1 -m fuzz tests/fuzz

.PHONY: test-operations
test-operations: install ## A team's servers on loopback, and what happens when they fail (needs PostgreSQL)
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadgroup -m operations --session-timeout 1680 \
	  --last-run docs/operations-last-run.md tests/operations tests/flows

.PHONY: test-tutorial
test-tutorial: install ## Every command of docs/tutorial.md in its order, in one new clone
	@OMP_NUM_THREADS=1 python -m pytest -n 0 -m tutorial tests/tutorial

.PHONY: chaos
chaos: install ## Failing servers, disks and processes on a copy, as a table in docs/rehearsal.md: make chaos (or MINUTES=60, KILLS=200)
	@python -m tasks.tools.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(KILLS),--kills $(KILLS))

.PHONY: profile
profile: install ## Switch params.yaml to a profile: make profile P=paper (or clips, sample, streaming, tiny)
	@python -m tasks.tools.profile "$(P)"

.PHONY: real
real: $(if $(ROOT),install) ## The same pipeline on a corpus of your own, beside this checkout: make real ROOT=/path/to/beat_english_v2.0.0
	$(if $(ROOT),,$(error make real: expected the folder of a corpus, found no ROOT; set it: make real ROOT=/path/to/beat_english_v2.0.0))
	@python -m tasks.tools.real "$(ROOT)"

.PHONY: ablations
ablations: install ## The model without one of its ideas at a time: make ablations (SEEDS=3 PROFILE=sample ONLY="no_words ...")
	@python -m tasks.tools.ablations --seeds $(or $(SEEDS),3) --profile $(or $(PROFILE),sample) $(ONLY:%=--only %)

.PHONY: plots
plots: install ## DVC's plots as a page that opens offline: runs/plots/index.html
	@python -m tasks.tools.plots

# Of the 230 columns of `dvc exp show`: the model's metrics of the field, and the parameters that differ.
.PHONY: experiments
experiments: install ## Builds side by side: metrics, and the parameters that differ (`dvc exp show` shows everything)
	@dvc exp show --no-pager --only-changed \
	  --drop '.*/|.*\.py$$|motion\.|(bundle|metrics|models|plots|renders|results)$$'

.PHONY: package
package: install ## Build wheel and sdist, and try each in a clean environment
	@$(BRIDGE); python -m pytest -n 0 -m packaging tests/packaging

# Material prints an advertisement otherwise.
.PHONY: docs
docs: export NO_MKDOCS_2_WARNING := 1
docs: install ## The documentation site, without a network: runs/site/index.html
	@codespell
	@python -m mkdocs build --strict --quiet
	@echo "open runs/site/index.html; external links, which nothing checks, are in runs/site/external-links.txt"

.PHONY: lint
lint: install ## Style, types, package order, and dvc.yaml against the imports; pre-commit runs the same checks
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types style

.PHONY: types
types:
	@mypy

.PHONY: style
style:
	@ruff check .
	@ruff format --check .
	@lint-imports --no-cache
	@python -m tasks.tools.graph
	@python -m tasks.tools.diagrams --check
