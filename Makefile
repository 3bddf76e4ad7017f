# The front door; Meson does the work. `make help` lists the targets.
BUILD = build
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 20
ARGS ?=

ASAN = -Db_sanitize=address,undefined -Dc_args=-fno-sanitize-recover=all
# Build-time generators leave their memory to exit().
NO_LEAKS = ASAN_OPTIONS=detect_leaks=0
ARM64_LIBS = libxxhash-dev libcmocka-dev libfdt-dev zlib1g-dev libzstd-dev liburing-dev libjansson-dev
FUZZ = -Dfuzz=true -Db_lundef=false $(ASAN)

.PHONY: all guests demo check check-arm64 asan fuzz bench bench-exec format clean help

all:
	@tools/setup build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD)
	@ninja -C $(BUILD) -j $(JOBS)

guests:
	@tools/guest all >/dev/null || echo 'tests of whole machines will be skipped' >&2

demo:
	@tools/setup demo
	@$(MAKE) --no-print-directory all
	@tools/demo $(ARGS)

check:
	@tools/setup check
	@$(MAKE) --no-print-directory -j 2 all guests
	@test -n "$(ARGS)" || $(MAKE) --no-print-directory check-arm64
	@tools/check $(BUILD) $(ARGS)

asan:
	@tools/setup asan
	@test -f build-asan/build.ninja || meson setup build-asan $(ASAN)
	@$(NO_LEAKS) ninja -C build-asan -j $(JOBS)
	@$(MAKE) --no-print-directory guests
	@tools/check build-asan -t 5 -x style $(ARGS)

# All but the x86-64 emitter is portable: cross-built, and its tests run by qemu-aarch64.
check-arm64:
	@tools/setup check-arm64
	@tools/guest qemu >/dev/null
	@tree=$$(tools/guest tree arm64 arm64 $(ARM64_LIBS)) && mkdir -p build-arm64 && \
		printf "[constants]\ntree = '%s'\n" "$$tree" >build-arm64/tree.txt
	@test -f build-arm64/build.ninja || meson setup build-arm64 \
		--cross-file build-arm64/tree.txt --cross-file tools/cross-aarch64.txt
	@ninja -C build-arm64 -j $(JOBS)
	@GUISE_SHORT=1 tools/check build-arm64 -t 5 -x style -x native $(ARGS)

fuzz:
	@tools/setup fuzz
	@test -f build-fuzz/build.ninja || CC=clang meson setup build-fuzz $(FUZZ)
	@$(NO_LEAKS) ninja -C build-fuzz -j $(JOBS)
	@tools/fuzz build-fuzz $(FUZZ_SECONDS) $(ARGS)

bench:
	@tools/setup bench
	@$(MAKE) --no-print-directory all
	@bench/boot
	@bench/guest $(or $(ARGS),--quick)

bench-exec:
	@tools/setup bench
	@$(MAKE) --no-print-directory all
	@bench/exec $(or $(ARGS),--quick)

format:
	@tools/setup format
	@tools/check-format --fix

clean:
	rm -rf $(BUILD) build-asan build-fuzz build-arm64

help:
	@echo 'make          build/guise, optimized'
	@echo 'make demo     boot Debian'"'"'s riscv64 kernel to a shell (ARGS="--cpus 4")'
	@echo 'make check    all tests and style checks; ARGS=NAME runs one'
	@echo 'make check-arm64  cross-built for arm64, the tests shortened and under qemu-aarch64 (build-arm64)'
	@echo 'make asan     the tests with address and undefined behaviour sanitizers (build-asan)'
	@echo 'make fuzz     libFuzzer, FUZZ_SECONDS=$(FUZZ_SECONDS) a target (build-fuzz; ARGS=NAME runs one)'
	@echo 'make bench    boot, then programs in the guest, compared with QEMU and native; quick, or'
	@echo '              with the arguments of bench/guest: ARGS="--rounds 5" is the full scale'
	@echo 'make bench-exec   the same programs, and some of Debian, as processes (ARGS as for bench/exec)'
	@echo 'make format   clang-format on the whole tree'
	@echo 'make clean    remove the builds; .cache keeps what was downloaded'
