# Each target does its own set-up: on a bare Debian 12 with a Rust toolchain, `make demo` and
# `make test` install what is missing (packaging/debian-packages.txt) and go on.

TARGET := $(or $(CARGO_TARGET_DIR),target)
CARGO ?= cargo
CARGO_FUZZ_VERSION := 0.13.2
FUZZ_CRATES := dataplane/fuzz control/fuzz
FUZZ_SECONDS ?= 6
SIMULATION = $(TARGET)/debug/getvpn-simulation --threads $(shell nproc)
# What never touches a packet.
WITHOUT_DPDK := getvpn-ctl getvpn-doctor getvpn-config getvpn-metrics getvpn-gdoi getvpn-ks getvpn-simulation getvpn-perf-control
PYTHON := .venv/bin/python

.PHONY: demo test check bench deps deps-build deps-test release \
        fmt clippy unit doc without-dpdk programs quick simulate loom fuzz e2e bench-quick recovery-matrix abuse-table \
        tcp-under-churn pktgen-report

demo: release
	@python3 tests/demo/demo.py --bin $(TARGET)/release

# Everything, stage by stage. A stage that fails does not hide what the others say.
test: deps
	@tests/stages fmt clippy unit doc without-dpdk simulate loom e2e bench-quick fuzz

# The quick inner loop.
check: deps-build fmt clippy unit without-dpdk

# What the packet path and the control plane cost, beside what they are compared with: perf/README.md.
bench: deps-build
	@packaging/install bench
	@perf/run
	@perf/run-control

deps: deps-build deps-test

deps-build:
	@packaging/install build
	@command -v $(CARGO) >/dev/null || { echo 'no Rust toolchain found: see https://rustup.rs' >&2; exit 1; }

deps-test: .venv/complete
	@packaging/install test

.venv/complete: tests/requirements.txt
	@packaging/install test
	@python3 -m venv --clear .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

release: deps-build
	$(CARGO) build --locked --release -p getvpn-gm -p getvpn-ks -p getvpn-ctl

# Debian packages of the three programs, in $(TARGET)/deb. BINARIES=target/quick packs what is compiled there already.
deb: $(if $(BINARIES),,release)
	@packaging/install deb
	@packaging/deb $(or $(BINARIES),$(TARGET)/release) $(TARGET)/deb

# Installs, configures, runs, hangs, upgrades, removes and purges them on a Debian 12 of its own, booted in a container: as
# root, some minutes. It compiles as `make test` does.
deb-test: $(if $(BINARIES),,quick)
	@packaging/install deb deb-test
	@DEB_BUILD_OPTIONS=noautodbgsym packaging/deb $(or $(BINARIES),$(TARGET)/quick) $(TARGET)/deb-test
	@python3 tests/deb/packages.py $(TARGET)/deb-test

# --- the stages of `make test` ---------------------------------------------------------------

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# Unit and property tests, vectors, and the tests in the documentation.
unit:
	$(CARGO) test --locked --workspace

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items

# What must not need DPDK, with its tests, is complete without it: pkg-config is made to find none.
without-dpdk:
	PKG_CONFIG_LIBDIR=/nonexistent $(CARGO) check --locked --all-targets $(addprefix -p ,$(WITHOUT_DPDK))

# All that the stages below run, with the libraries that `unit` has: one build for each would compile most of them again,
# with a feature less. They find overflows and what debug assertions find.
programs: deps-build
	$(CARGO) build --locked --workspace --bins --examples

# The same nearly as fast as a release.
quick: deps-build
	$(CARGO) build --locked --profile quick --workspace --bins --examples

# A key server and its members in virtual time: control/simulation. Without variables, what `make test` does:
# many seeds with few members, then one with a hundred. `make simulate SEEDS=2000 MEMBERS=8 DAYS=30` does that.
simulate: programs
ifdef SEEDS
	$(SIMULATION) --seed $(or $(SEED),1) --seeds $(SEEDS) --members $(or $(MEMBERS),8) --days $(or $(DAYS),30)
else
	$(SIMULATION) --seeds 48 --members 8 --days 2
	$(SIMULATION) --members 100 --days 1
endif

# The model checker explores every interleaving of the lock-free parts. A feature, not a flag of the compiler's, turns them
# over to it: what they depend on has been compiled for the unit tests already.
loom:
	$(CARGO) test --locked -p getvpn-dataplane --lib --features loom loom_

# Two members, scapy, tshark, strongSwan and real TCP. The tests that need root are skipped without it, unless CI is set.
e2e: programs deps-test
	GETVPN_BIN=$(abspath $(TARGET)/debug) $(PYTHON) -m pytest tests/e2e

# Every way to fall out of step, between real processes with traffic running: the table of the README. ROWS=5,6 plays some
# of them, ROUNDS=3 each of them so often.
recovery-matrix: deps-build deps-test
	$(CARGO) build --locked --release -p getvpn-gm -p getvpn-ks -p getvpn-ctl
	$(CARGO) build --locked --release -p getvpn-gdoi --example racing-key-server
	@$(PYTHON) tests/recovery/matrix.py --bin $(TARGET)/release $(if $(ROWS),--rows '$(ROWS)') $(if $(ROUNDS),--rounds $(ROUNDS))

# Every way to abuse a member or a key server, and what it comes to: the table of the README. SECONDS=10 for shorter floods
# than a minute, ONLY=forged for some of the rows. The share of good traffic as the data plane alone has it comes first.
abuse-table: SECONDS ?= 60
abuse-table: deps-build deps-test
	$(CARGO) build --locked --release -p getvpn-gm -p getvpn-ks -p getvpn-ctl
	$(CARGO) build --locked --release -p getvpn-gdoi --example flooding-member
	$(if $(ONLY),,@perf/run --only flood --out $(TARGET)/abuse-table)
	@$(PYTHON) tests/abuse/table.py --bin $(TARGET)/release --seconds $(SECONDS) $(if $(ONLY),--only '$(ONLY)')

# Ten prepared faults, each found with getvpnctl alone: writes docs/on-call.md.
on-call: quick deps-test
	@$(PYTHON) tests/oncall/transcript.py --bin $(TARGET)/quick --out docs/on-call.md

# One row of it: a download over TCP while SAs are deleted, keys roll and datagrams of GDOI are lost.
tcp-under-churn:
	@$(MAKE) --no-print-directory abuse-table ONLY=tcp

# RFC 2544 throughput and latency, IMIX, unknown SPIs and rekeys on one machine, over net_memif beside dpdk-testpmd: a report
# with plots in perf/out/pktgen. QUICK=1 only shows that it works.
pktgen-report: deps-build deps-test
	@packaging/install bench
	@perf/pktgen/run $(if $(QUICK),--quick)

# The benchmarks still work; their figures mean nothing here.
bench-quick: programs
	@$(TARGET)/debug/getvpn-perf --programs $(TARGET)/debug --quick --out $(TARGET)/bench-quick
	@$(TARGET)/debug/getvpn-perf-control --programs $(TARGET)/debug --quick --out $(TARGET)/bench-quick

# $(FUZZ_SECONDS) seconds for each target of either crate, from the committed seeds; FUZZ_TARGETS names some
# of them. The fuzzer wants a nightly compiler's flags, which RUSTC_BOOTSTRAP allows the stable one.
fuzz: export RUSTC_BOOTSTRAP = 1
# The leak checker does not look into DPDK's memory, and so takes what only that refers to for lost. The
# targets see to it themselves that no packet buffer is.
fuzz: export ASAN_OPTIONS = detect_leaks=0
fuzz: export CARGO_TARGET_DIR := $(abspath $(TARGET)/fuzz)
fuzz: export PATH := $(abspath $(TARGET)/tools/bin):$(PATH)
fuzz: deps-build $(TARGET)/tools/bin/cargo-fuzz
	@for crate in $(FUZZ_CRATES); do \
	    $(CARGO) fuzz build --fuzz-dir $$crate || exit 1; \
	    for target in $(or $(FUZZ_TARGETS),$$($(CARGO) fuzz list --fuzz-dir $$crate)); do \
	        [ ! -e $$crate/fuzz_targets/$$target.rs ] || echo $$target; \
	    done | xargs -I {} -P $(shell nproc) \
	        tests/fuzz-target $$crate {} $(FUZZ_SECONDS) $(abspath $(TARGET))/fuzz-{}.log || exit 1; \
	done

$(TARGET)/tools/bin/cargo-fuzz:
	$(CARGO) install cargo-fuzz --quiet --locked --version $(CARGO_FUZZ_VERSION) --root $(TARGET)/tools
