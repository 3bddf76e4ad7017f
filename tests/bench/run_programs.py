#!/usr/bin/env python3
"""The benchmark programs with little work, as a test: equal checksums natively, under qemu-riscv64
and, with an engine's name, inside a machine of guise; and from the same riscv64 binary equal bits of
floating point.

    tests/bench/run_programs.py BUILD [GUISE ENGINE]

Exit code 77 when the cross compiler is not installed or tools/guest cannot fetch what it needs."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../bench/lib"))
# pylint: disable=wrong-import-position
import programs as suite
from common import BenchError, Missing, guest

SCALE = "tiny"


def check(build, guise=None, engine=None):
    """One sentence for each difference."""
    native, riscv64 = suite.build(build)
    systems = {"native": suite.native_system(native),
               "qemu-riscv64": suite.qemu_user_system(guest("qemu"), riscv64)}
    if guise:
        systems[engine] = suite.guise_system(guise, guest("kernel"),
                                             suite.initramfs(riscv64, build), ["--engine", engine])
    keys = suite.keys_of(suite.catalogue(native))
    collected = suite.measure(systems, keys, SCALE, 1, lambda text: print(text, flush=True))
    return suite.differences(collected, [name for name in systems if name != "native"])


if __name__ == "__main__":
    try:
        sys.exit("\n".join(check(*sys.argv[1:])) or 0)
    except Missing as problem:
        print("skipped: %s" % problem)
        sys.exit(77)
    except BenchError as problem:
        sys.exit("failed: %s" % problem)
