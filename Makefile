# The front door: `make demo` shows the product at work, `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
LINK := .build/collections/ansible_collections/homelab/patching

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

$(VENV)/%.done: requirements/%.txt requirements/control.txt requirements/control-hashes.txt requirements/lab.txt tools/venv
	@tools/venv $(VENV) $<
	@touch $@

# An installed collection is found by its folder's name; a checkout may lie anywhere, so it is linked under that name.
$(LINK):
	@mkdir -p $(dir $@)
	@ln -sfn "$(CURDIR)" $@

.PHONY: lab
lab: $(VENV)/lab.done $(LINK) ## Start the test machines.
	@tools/lab up

.PHONY: demo
demo: $(VENV)/lab.done $(LINK) ## Patch real machines behind a fake Proxmox VE (FRESH=1: start over).
	@tools/demo $(if $(FRESH),--fresh)

.PHONY: test
test: $(VENV)/test.done $(LINK) ## Run all tests (LAB=off: without machines; ONLY=faults/test_lost.py: this file).
	@exec $(BIN)/python tools/test.py $(if $(filter off,$(LAB)),--no-lab) $(if $(FULL),--full) $(if $(ONLY),--only '$(ONLY)')

.PHONY: check
check: $(VENV)/test.done $(LINK) ## Run the tests that take seconds, for the edit loop.
	@exec $(BIN)/python tools/test.py --check

.PHONY: bench
bench: $(VENV)/lab.done $(LINK) ## Print how fast it is, beside what it is compared with.
	@tools/bench

.PHONY: clean
clean: ## Take the test machines down and remove what they left.
	@if [ -x $(BIN)/python ]; then tools/lab down --every; fi
