#!/usr/bin/env python3
"""A soak test, not part of `make check`: a machine with two harts does everything at once for some
minutes - compile-like work, storms of processes, signals, page faults, code that rewrites itself,
threads with atomics - and every result must be the one of the first time and, for the programs of
bench/, the native one; memory of the process other than the guest's must not grow.

    tests/vmm/soak.py GUISE [--engine NAME] [--minutes N] [--harts N] [-- more of guise run]
"""

import argparse
import collections
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import harness
sys.path.insert(0, harness.ROOT + "/bench/lib")
import programs as suite
from harness import Failure, Machine, check, guest, linux, scratch

SILENCE = 300  # seconds without a line of a worker: it hangs
QUIET_KIB = 16 << 10  # by which memory may differ between the second quarter and the last


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guise")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--harts", type=int, default=2)
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.more = words[end + 1:]
    return options


def native_results(native):
    """{program: checksum} of this host."""
    results = {}
    for name in suite.catalogue(native):
        _, out, _ = harness.run([name, "tiny"], program=native)
        match = re.search(rb"bench: \w+ [0-9.]+ (\S+)", out)
        results[name] = match.group(1).decode() if match else None
    return results


def memory_kib(pid):
    """Anonymous memory: all but the guest's and the code's, which are bounded by their size."""
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["RssAnon"].split()[0])


def memory_growth(samples):
    """The process must not grow from the second quarter of its life to the last: (when, KiB)."""
    quarter = len(samples) // 4
    early = [kib for _, kib in samples[quarter:2 * quarter]]
    late = [kib for _, kib in samples[3 * quarter:]]
    if not early:
        return
    print("memory: %d KiB in the second quarter, %d in the last" % (max(early), max(late)))
    check(max(late) - max(early) < QUIET_KIB, "the process grows")


class Soak:
    def __init__(self, machine, native, seconds):
        self.machine, self.native = machine, native
        self.start = time.monotonic()
        self.end = self.start + seconds
        self.first = {}
        self.last = {}  # when the worker's line came
        self.counts = collections.Counter()
        self.memory = []

    def line(self, what, result):
        check(result and not result.startswith(","), "%s has no result" % what)
        expected = self.first.setdefault(what, result)
        check(result == expected, "%s gives %s, the first time %s" % (what, result, expected))
        native = self.native.get(what)
        check(native in (None, result.split(",")[0]),
              "%s gives %s, natively %s" % (what, result, native))
        self.counts[what] += 1
        self.last[what] = time.monotonic()

    def run(self):
        while time.monotonic() < self.end:
            found = self.machine.expect(rb"soak: (\w+) ?(\S*)\r*\n", SILENCE)
            self.line(found.group(1).decode(), found.group(2).decode())
            # Only the end of the output is of interest.
            self.machine.log = self.machine.log[self.machine.at:]
            self.machine.at = 0
            if not self.memory or time.monotonic() > self.memory[-1][0] + 2:
                self.memory.append((time.monotonic(), memory_kib(self.machine.process.pid)))
        self.check_progress()
        memory_growth(self.memory)

    def check_progress(self):
        for what, when in self.last.items():
            check(what == "start" or time.monotonic() - when < SILENCE, "%s hangs" % what)


def main():
    options = arguments()
    harness.guise = os.path.abspath(options.guise)
    native, riscv64 = suite.build(os.path.dirname(harness.guise))
    with scratch(big=True) as directory:
        initrd = guest("initramfs", "--init", HERE + "/soak.init", "--add",
                       "bin/programs=" + riscv64, "-o", directory + "/initramfs")
        with Machine(["run", "--engine", options.engine, "--cpus", str(options.harts),
                      *linux("console=ttyS0 quiet", initrd), *options.more]) as machine:
            soak = Soak(machine, native_results(native), options.minutes * 60)
            try:
                soak.run()
            except Failure as failure:
                sys.exit("FAILED after %.0f s: %s\n%s" % (time.monotonic() - soak.start, failure,
                                                         harness.text(machine.log)))
            print(", ".join("%s %d" % item for item in sorted(soak.counts.items())))
            machine.send(b"\x01x")
            machine.end(0)
    print("ok: %d results in %.0f s" % (sum(soak.counts.values()), options.minutes * 60))


if __name__ == "__main__":
    main()
