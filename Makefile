# The developer's front door; meson and ninja do the work. The user's is ./run and ./check.
# V=1 shows the build's own output.

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 20
B := sh tools/build.sh
PYTHON ?= python3
SANITIZE := -Dtests=enabled -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=true

all: ## build/ergon, build/energy-monitor and build/libergon.so
	@$(B) "$(CURDIR)/build" all
	@ln -sfn src/cli/ergon build/ergon
	@if [ -x build/src/cli/energy-monitor ]; then ln -sfn src/cli/energy-monitor build/energy-monitor; fi
	@cd build && for f in src/lib/libergon.so*; do case $$f in *.p) ;; *) ln -sfn "$$f" .;; esac; done
	@cd build && for f in meson-private/libergon*.pc; do ln -sfn "$$f" .; done
	@echo build/ergon build/libergon.so

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 18

agent: ## the agent on this machine, in the foreground; prints where to look
	@sh tools/deps agent
	@$(B) "$(CURDIR)/build" "src/cli/ergon src/cli/ergon-agent"
	@sh tools/agent.sh "$(CURDIR)/build/src/cli/ergon"

check: ## all tests, as ./check
	@./check

dev: ## ASan + UBSan, warnings as errors, with gcc and with clang; runs the compiled tests
	@CC=gcc $(B) "$(CURDIR)/build-dev/gcc" all $(SANITIZE)
	@CC=clang $(B) "$(CURDIR)/build-dev/clang" all $(SANITIZE)
	@$(PYTHON) tests/run --compiled build-dev/gcc --compiled build-dev/clang

tsan: ## the compiled tests under the thread sanitizer
	@$(B) "$(CURDIR)/build-dev/tsan" all -Dtests=enabled -Db_sanitize=thread -Db_lundef=false
	@TSAN_OPTIONS=halt_on_error=1 $(PYTHON) tests/run --compiled build-dev/tsan

lint: ## layout, layers, banned calls, clang-tidy, cppcheck, shellcheck
	@sh tools/lint.sh

format: ## lay out every C file as .clang-format says
	@sh tools/format.sh

soak: all ## the full counts of long tests (ERGON_SOAK=10)
	@$(B) "$(CURDIR)/build-check/default" all -Dtests=enabled
	@ERGON_SOAK=10 $(PYTHON) tests/run build-check/default

bench: all ## what measuring costs, beside other meters
	@sh tools/bench.sh build

fuzz: ## a search over each parser, in C, Python and Node, FUZZ_SECONDS each (20)
	@CC=clang $(B) "$(CURDIR)/build-dev/fuzz" fuzzers -Dtests=enabled -Dfuzz=true \
		-Db_sanitize=address,undefined -Db_lundef=false
	@sh tools/fuzz.sh build-dev/fuzz $(FUZZ_SECONDS)

install: ## into PREFIX (/usr/local), below DESTDIR if that is set
	@$(B) "$(CURDIR)/build-install" all -Dtests=disabled --prefix="$(PREFIX)"
	@DESTDIR="$(DESTDIR)" meson install -C build-install --no-rebuild

install-ipw: ## energy-monitor into the Python package ipw, whose folder is IPW
	@test -n "$(IPW)" || sh tools/install-ipw.sh
	@sh tools/deps grpc
	@$(B) "$(CURDIR)/build" src/cli/energy-monitor
	@sh tools/install-ipw.sh build/src/cli/energy-monitor "$(IPW)"

deb: ## Debian packages, in build-deb
	@sh tools/deb.sh

clean: ## every build directory
	rm -rf build-deb build build.log build.lock build-check build-dev build-install build-install.log \
		build-install.lock

.PHONY: all help agent check dev tsan lint format soak bench fuzz install install-ipw deb clean
