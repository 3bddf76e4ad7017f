#!/usr/bin/env python3
"""guise run --lockstep interp,dbt stays equal: over bare programs and over a boot of Debian's kernel
and some programs. GUISE_LONG=1 boots with 2 harts and with real firmware, too. That a difference is
found, and where, is test_lockstep's."""

import os
import platform
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Bare, Skip, check, guest, linux, run, scratch

HERE = os.path.dirname(os.path.realpath(__file__))
LONG = bool(os.environ.get("GUISE_LONG"))
PAIR = "interp,dbt" if platform.machine() == "x86_64" else "interp,interp"


def lockstep(args, code=0, seconds=300):
    got, out, err = run(["run", "--lockstep", PAIR, *args], seconds=seconds)
    check(got == code and not err, "exit code %d of %s" % (got, " ".join(args)), out + err)
    return out


def bare(name, code=0, cpus=1, until=20, **symbols):
    with scratch() as directory:
        image = Bare(directory).make(name, **symbols) + ".bin"
        return lockstep(["--firmware", image, "--memory", "8M", "--cpus", str(cpus), "--run-for",
                         str(until * 1000000)], code)


def test_bare():
    check(b"tick 5" in bare("timer", until=2000), "the ticks")
    bare("traps", code=42)
    bare("paging")
    bare("pmp")
    bare("reset")
    bare("busy", cpus=2, until=10)
    check(b"sum 0000000000000fa0" in bare("ipi", cpus=4, until=100), "the sum")
    bare("counters", cpus=2, until=1000, HARTS=2, ADDS=500)


def test_waits_for_input():
    """A guest that would wait for ever ends the run, with a word about it."""
    with scratch() as directory:
        path = directory + "/image"
        with open(path, "wb") as file:
            file.write(bytes.fromhex("73005010" "6ff0dfff"))  # 1: wfi; j 1b
        code, _, err = run(["run", "--lockstep", PAIR, "--firmware", path, "--memory", "8M"])
        check(code == 0 and b"waits for input" in err, "exit code %d" % code, err)


def boot(*args, seconds=600):
    with scratch(big=True) as directory:
        initrd = guest("initramfs", "--init", HERE + "/lockstep.init", "-o",
                       directory + "/initramfs")
        out = lockstep([*linux("console=ttyS0", initrd, whole=True), *args], seconds=seconds)
        check(b"guise: done" in out, "the guest did not come to its end", out)


def test_boot():
    boot()


def test_long():
    if not LONG:
        raise Skip("GUISE_LONG=1 runs it")
    boot("--cpus", "2", seconds=3600)
    boot("--cpus", "2", "--firmware", guest("firmware") + "/fw_dynamic.bin", seconds=3600)
    boot("--mmu", "sv48", seconds=3600)


if __name__ == "__main__":
    harness.main(globals())
