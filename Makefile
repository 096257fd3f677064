# wgbpf: every target installs what it needs (Debian 12, as root for packages and network namespaces).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := python3-venv python3-dev gcc libc6-dev libssl-dev clang-14 libbpf-dev libbpf1 wireguard-tools \
            wireguard-go iperf3 iputils-ping iproute2 tcpdump nftables procps ethtool bpftool

# V=1 shows the commands and what the installers print.
Q := $(if $(V),,@)
QUIET := $(if $(V),,>build/setup.log 2>&1 || { cat build/setup.log >&2; exit 1; })

CLANG ?= clang-14
BPF_FLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -I/usr/include/$(shell uname -m)-linux-gnu
BPF_OBJECTS := $(patsubst bpf/%.bpf.c,wgbpf/datapath/objects/%.o,$(wildcard bpf/*.bpf.c))

PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest
# With ARGS one half of the tests may be empty.
OR_NONE = $(if $(ARGS),|| [ $$? -eq 5 ])

.PHONY: bpf help setup packages demo demo-end test test-unit test-lab lint fmt fuzz bench bench-xdp bench-guard bench-tun clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: packages $(VENV)/.stamp $(BPF_OBJECTS) ## Debian packages and the Python environment in .venv

packages:
	$(Q)mkdir -p build
	$(Q)missing=$$(for p in $(PACKAGES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null \
	  | grep -q 'install ok installed' || echo $$p; done | xargs); \
	if [ -n "$$missing" ]; then \
	  echo "setup: installing $$missing"; \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -q --no-install-recommends $$missing; } $(QUIET); \
	fi

$(VENV)/.stamp: pyproject.toml setup.py $(wildcard wgbpf/native/*.[ch])
	$(Q)mkdir -p build
	@echo "setup: Python environment in $(VENV)"
	$(Q){ $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --disable-pip-version-check -e '.[dev]'; } $(QUIET)
	$(Q)touch $@

wgbpf/datapath/objects/%.o: bpf/%.bpf.c $(wildcard bpf/*.h) | packages
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_FLAGS) -c $< -o $@

bpf: setup ## compile the BPF programs; print what the verifier says of them
	$(Q)$(BIN)/python -m wgbpf.datapath.verify $(BPF_OBJECTS)

demo: setup ## two hosts, one tunnel, real packets; KEEP=1 leaves the hosts up
	$(Q)PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.lab.demo $(if $(KEEP),--keep)

demo-end: setup ## ends what `make demo KEEP=1` left
	$(Q)PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.lab.demo --end

test: setup lint ## everything that .ci/run checks
	$(Q)$(PYTEST) -m "not waits" $(ARGS) $(OR_NONE)
	$(Q)$(PYTEST) -m waits -n 8 --dist worksteal $(ARGS) $(OR_NONE)

test-unit: setup ## tests that need no root
	$(Q)$(BIN)/pytest tests/unit tests/fuzz $(ARGS)

test-lab: setup ## tests on real packets between network namespaces (root)
	$(Q)$(PYTEST) tests/lab $(ARGS)

lint: setup ## ruff and mypy (strict)
	$(Q)$(BIN)/ruff check . && $(BIN)/ruff format --check -q . && $(BIN)/mypy

fmt: setup ## format the Python sources
	$(Q)$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

fuzz: setup ## fuzz the parsers: SECONDS=600 TARGET=core|uapi|config
	$(Q)$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(if $(TARGET),--target $(TARGET))

bench: setup ## side by side with the peers found here: ARGS=--quick, ARGS="--rounds 5 --scenario tcp-1"
	$(Q)$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/pip install -q matplotlib $(QUIET)
	$(Q)PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench $(ARGS)

bench-xdp: setup ## sealing cost, steering, and 10,000 peers of the xdp data path
	$(Q)PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench.xdp

bench-guard: setup ## floods against the guard, without it, and against wireguard-go: ARGS="--seconds 5 --kind d --rate 100000"
	$(Q)PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench.guard $(ARGS)

bench-tun: setup ## sealing beside OpenSSL, and a profile of the native pump; ARGS=--without: what its parts are worth
	$(Q)PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench.tun $(ARGS)

clean: ## remove what was built
	rm -rf build $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
