#!/usr/bin/env python3
"""The memory model between harts: bare programs on 2 and 4 harts, each a host thread, look for
outcomes that RVWMO forbids (bare/litmus.S) and for lost updates (bare/counters.S).

GUISE_LONG=1 runs 10^7 rounds of each. The tests named without_* run the same programs without their
fences and atomics, to see that they can fail; they depend on the host's timing and run only when
named: memory_model.py GUISE without_fences."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Bare, check, run, scratch, text

BATCH = 2048  # of litmus.S
LONG = bool(os.environ.get("GUISE_LONG"))
ROUNDS = 10000000 if LONG else 200000
KINDS = {"SB": 1, "SBAMO": 2, "MP": 3, "MPAMO": 4, "LB": 5, "IRIW": 6}


def program(name, harts, **symbols):
    """(exit code, what it printed)"""
    with scratch() as directory:
        image = Bare(directory).make(name, HARTS=harts, **symbols) + ".bin"
        code, out, err = run(["run", "--firmware", image, "--memory", "8M", "--cpus", str(harts),
                              "--console", "stdio"], seconds=1800 if LONG else 180)
        check(not err, "it says something", out + err)
        return code, text(out)


def litmus(kind, harts):
    code, printed = program("litmus", harts, KIND=KINDS[kind], BATCHES=-(-ROUNDS // BATCH))
    print("%s on %d harts: %s" % (kind, harts, printed.strip()), flush=True)
    check(code == 0 and printed.endswith("forbidden 0\n"),
          "%s on %d harts: exit code %d, %s" % (kind, harts, code, printed))


def test_store_buffering():
    litmus("SB", 2)
    litmus("SB", 4)


def test_store_buffering_atomic():
    litmus("SBAMO", 2)
    litmus("SBAMO", 4)


def test_message_passing():
    litmus("MP", 2)
    litmus("MP", 4)


def test_message_passing_atomic():
    litmus("MPAMO", 2)
    litmus("MPAMO", 4)


def test_load_buffering():
    litmus("LB", 2)
    litmus("LB", 4)


def test_independent_reads():
    litmus("IRIW", 4)


def test_counters():
    for harts in (2, 4):
        adds = ROUNDS // harts
        code, printed = program("counters", harts, ADDS=adds)
        print("%d harts: %s" % (harts, printed.replace("\n", ", ")), flush=True)
        check(code == 0 and printed.count(" %d\n" % (adds * harts)) == 10,
              "%d harts: exit code %d\n%s" % (harts, code, printed))


# ---- that they can fail -------------------------------------------------------------------------


def without_fences():
    for kind in KINDS:
        for harts in (2, 4) if kind != "IRIW" else (4,):
            code, printed = program("litmus", harts, KIND=KINDS[kind], NOFENCE=1,
                                    BATCHES=-(-ROUNDS // BATCH))
            print("%s on %d harts: %d, %s" % (kind, harts, code, printed.strip()), flush=True)


def without_atomics():
    code, printed = program("counters", 2, ADDS=ROUNDS // 2, BROKEN=1)
    print("exit code %d\n%s" % (code, printed))
    check(code == 1, "no update was lost")


if __name__ == "__main__":
    harness.main(globals())
