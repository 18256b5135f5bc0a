# Everything runs from a wheel installed into .venv, as it will run for users; nothing imports the source tree.
# A file whose name starts with .venv/. is a stamp: what it stands for is done again only when its inputs change.

PYTHONS := python3 python3.13 python3.12 python3.11
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' agent/epochseal/version.py)
WHEEL   := dist/epochseal-$(VERSION)-py3-none-any.whl
# With the folders: a deleted module changes no file, only the time of its folder.
SOURCES := $(shell find agent backends -not -path '*/__pycache__*')
PIP     := .venv/bin/python -m pip --disable-pip-version-check --no-input
# Debian packages that the tests need besides Python; they are installed only where they are absent.
TEST_PACKAGES := chromium chromium-driver gcc gdb gnutls-bin golang-go golang-golang-x-mod-dev libc6-dev libnss3-tools logrotate opensc prometheus rsync shellcheck \
	softhsm2 strace systemd-journal-remote
# What `make check-deploy` needs besides. Packages that start a daemon (prometheus, for promtool; rsyslog) are used where they are.
DEPLOY_PACKAGES := logrotate shellcheck

PEER_PACKAGES := syslog-ng-core syslog-ng-mod-slog libivykis0 libnet1 libwrap0 libjson-c5 libpcre3

SECONDS := 600

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-full faults power-states model mutations supervision live-copies live-readers monitor-trial alert-trial archive-trial neighbours tail-stories fuzz lint check check-deploy bench clean strange docs reference dist lock audit deb

help: ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: .venv/.installed ## install into .venv and tell the whole story on this machine
	@.venv/bin/epochseal demo

test: .venv/.dev ## run the tests against the installed wheel
	@$(call apt_install,$(TEST_PACKAGES))
	.venv/bin/python -m pytest -n 4 --dist worksteal

test-full: export EPOCHSEAL_FULL = 1
test-full: test ## the same with the large samples

faults: export EPOCHSEAL_FULL = 1
faults: .venv/.dev ## inject every fault at every step, where `make test` takes some of each kind
	.venv/bin/python -m pytest -n 4 --dist worksteal tests/fault

power-states: .venv/.dev ## cut the power 2,000 times, torn at sectors, and start again
	.venv/bin/python -m tests.fault.power_states 2000

model: .venv/.dev ## search through all states of a start and a turn, within bounds
	.venv/bin/python -m tests.model.search

mutations: .venv/.dev ## check a million damaged epochs by columns and line by line: two hours of one processor
	.venv/bin/python -m tests.reference.many_mutations 0 1000000

supervision: .venv/.dev ## kill and stop each process of a daemon under load
	.venv/bin/python -m tests.fault.supervision

tail-stories: .venv/.dev ## tell 100,000 stories of services whose files are tailed; no line may be lost in silence
	.venv/bin/python -m tests.unit.sources.tail_stories 100000

fuzz: .venv/.fuzz ## give hostile input to every reader for SECONDS, on all processors
	.venv/bin/python -m tests.fuzz.fuzz $(SECONDS)

live-copies: .venv/.dev ## copy a log 500 times by four tools while it is written, expires and so on
	.venv/bin/python -m tests.fault.live_copies 504

live-readers: .venv/.dev ## verify and copy logs thousands of times while they are written, expire and so on
	@$(call apt_install,rsync)
	.venv/bin/python -m tests.fault.live_readers 5000 500

monitor-trial: .venv/.dev ## for an hour change 200 bytes of logs that a monitor watches, and kill it 50 times
	.venv/bin/python -m tests.fault.monitor_trial 60 25 100 50

alert-trial: .venv/.dev ## have each alert fire in a real run of agents, a monitor and a Prometheus
	@$(call apt_install,prometheus)
	.venv/bin/python -m tests.fault.alert_trial

archive-trial: .venv/.dev ## put 200 segments into an archive under kills, failures and an outage of a minute
	.venv/bin/python -m tests.fault.archive_trial 200 60

neighbours: .venv/.dev ## attack sources for a minute each, and measure how long the lines of another one wait
	.venv/bin/python -m tests.fault.hostile_neighbours 60

strange: .venv/.dev ## give every command every kind of file, closed stream and terminal; a part: PART=1/8
	.venv/bin/python -m tests.integration.cli.strange_matrix --part $(or $(PART),1/1)

lint: .venv/.dev ## format, lint, types and floors
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	PYTHONPATH=agent:backends .venv/bin/lint-imports --no-logo

check: lint test ## lint, then test

check-deploy: .venv/.deploy ## hold everything in deploy/ against the programs that will read it
	@$(call apt_install,$(DEPLOY_PACKAGES))
	.venv/bin/python -m tests.validation.check_deploy

docs: .venv/.docs ## build the documentation as a site, dist/site, and check every link
	.venv/bin/python -m docs.site.build dist/site

reference: .venv/.dev ## write the tables of docs/verify.md from the code
	.venv/bin/python -m docs.site.reference

dist: .venv/.deploy ## build wheel and sdist twice, compare them, and write an SBOM
	.venv/bin/python -m deploy.package.build_dist dist

lock: .venv/.deploy ## write requirements/ anew, with the hashes of what may be installed
	for name in runtime:all development:dev; do \
		.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
			--extra $${name#*:} pyproject.toml --output-file requirements/$${name%:*}.txt || exit; \
	done
	echo 'hatchling>=1.27' | .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--upgrade - --output-file requirements/build.txt

audit: .venv/.deploy ## ask what is known about the locked dependencies; needs a network
	.venv/bin/pip-audit --require-hashes --disable-pip -r requirements/runtime.txt

deb: .venv/.installed ## make a Debian package, dist/epochseal_VERSION_ARCHITECTURE.deb
	.venv/bin/python -m deploy.package.build_deb $(WHEEL) dist

bench: .venv/.dev .bench/.made ## measure sealing, verifying and peers: docs/benchmarks/ (QUICK=--quick: a minute)
	.venv/bin/python -m tests.bench.record $(QUICK)

# Peers have an environment of their own, and Debian packages are unpacked there, not installed.
.bench/.made:
	mkdir -p .bench/debian
	python3 -m venv .bench/venv
	-.bench/venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet ogentic-audit==0.3.0 auditchain==0.3.0
	-cd .bench && apt-get -qq download $(PEER_PACKAGES) && for file in *.deb; do dpkg -x "$$file" debian; done
	@touch $@

clean: ## remove what was made here
	rm -rf .bench .venv dist .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find agent backends tests -name __pycache__ -prune -exec rm -rf {} +

.venv/.dev: .venv/.installed
	$(PIP) install --quiet '$(WHEEL)[dev]'
	@touch $@

.venv/.deploy: .venv/.dev
	$(PIP) install --quiet '$(WHEEL)[deploy]'
	@touch $@

.venv/.docs: .venv/.dev
	$(PIP) install --quiet '$(WHEEL)[docs]'
	@touch $@

.venv/.fuzz: .venv/.dev
	$(PIP) install --quiet '$(WHEEL)[fuzz]'
	@touch $@

# pip keeps a distribution whose version it already has: the old wheel goes first.
.venv/.installed: $(WHEEL)
	$(PIP) uninstall --yes -qq epochseal
	$(PIP) install --quiet $(WHEEL)
	@touch $@

$(WHEEL): .venv/.made pyproject.toml LICENSE README.md $(SOURCES)
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

# A name on the PATH says little: a shim may run nothing, and Debian keeps ensurepip in a package of its own.
.venv/.made:
	@fit() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	complete() { "$$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }; \
	fail() { echo "make: error: $$1" >&2; echo "make: hint: $$2" >&2; exit 1; }; \
	python=; \
	for name in $(PYTHONS); do \
		fit $$name || continue; \
		if complete $$name; then python=$$name; break; fi; \
		python=$${python:-$$name}; \
	done; \
	test -n "$$python" || fail 'no Python 3.11 or newer among: $(PYTHONS)' 'make PYTHONS=/path/to/python3 …'; \
	if ! complete $$python; then \
		package=$$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		$(call apt_install,$$package); \
		complete $$python || fail "$$python cannot make a virtual environment" 'install its venv and ensurepip modules'; \
	fi; \
	$$python -m venv --clear .venv
	@touch $@

# Shell code that installs the named Debian packages, and asks for no password on the way.
define apt_install
for package in $(1); do \
	dpkg-query -W -f='$${Status}' "$$package" 2>/dev/null | grep -q ' installed$$' && continue; \
	run=; test "$$(id -u)" = 0 || run='sudo -n'; \
	echo "make: installing the Debian package $$package"; \
	{ command -v apt-get >/dev/null && $$run apt-get -qq update && \
	  $$run env DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends install "$$package" </dev/null >/dev/null; } || \
	{ echo "make: error: the package $$package is missing and could not be installed" >&2; \
	  echo "make: hint: as root: apt-get install $$package" >&2; exit 1; }; \
done
endef
