# SPDX-License-Identifier: Apache-2.0
# A thin front to Meson and tools/. On a fresh Debian 12 `make run` and `make test` do all the set-up; see `make help`.

BUILD ?= build
export PROMPT ?= Why is the sky blue?

.PHONY: help build run install wheel test long fuzz fuzz-long format check clean packages packages-ci

help: ## this list
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

build: $(BUILD)/build.ninja ## the program, left at build/medley
	@ninja -C $(BUILD) medley

run: build ## gets a small real model, turns it into 8 experts and asks it PROMPT="..."
	@model=$$(tools/get-model.sh --moe $(BUILD)/medley) && $(BUILD)/medley run "$$model" --temp 0 -n 200 -p "$$PROMPT"

install: $(BUILD)/build.ninja ## program, library, headers, manual pages, completions; PREFIX=/usr/local, DESTDIR=
	@meson configure $(BUILD) -Dprefix=$(or $(PREFIX),/usr/local)
	@ninja -C $(BUILD) install-set
	@meson install -C $(BUILD) --no-rebuild

wheel: $(BUILD)/build.ninja ## the Python module with the library inside, in build/wheel
	@ninja -C $(BUILD) python-module
	@tools/make-wheel.py $(BUILD)

test: build ## all tests
	@ninja -C $(BUILD)
	@tools/test-report.py $(BUILD)

long: build ## what takes an hour: perplexity of 20,000 tokens, long fuzzing, repeated thread tests
	@tools/long.sh $(BUILD)

fuzz: packages-ci ## every fuzzer for SECONDS=60
	@tools/fuzz.sh $(or $(SECONDS),60)

fuzz-long: packages-ci ## every fuzzer for an hour, with a table at the end
	@tools/fuzz.sh $(or $(SECONDS),3600)

format: packages-ci ## formats the sources in place
	@tools/sources.sh | xargs clang-format -i

check: build packages-ci ## format, style, layers, symbols
	@tools/check.sh $(BUILD)

clean: ## removes every build folder; the models in the cache stay
	rm -rf build build-*

$(BUILD)/build.ninja: | packages
	@meson setup $(BUILD) >$(BUILD)-setup.log 2>&1 || { cat $(BUILD)-setup.log; exit 1; }
	@rm -f $(BUILD)-setup.log

packages:
	@tools/packages.sh build

packages-ci:
	@tools/packages.sh build ci
