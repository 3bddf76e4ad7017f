#!/usr/bin/env python3
"""A machine whose guest writes to a qcow2 disk and flushes is killed at any moment, over and over: the
image stays sound, and all that the guest was told to be on disk is there. GUISE_KILLS is how often."""

import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Machine, check, linux, run, scratch, seed, tool

BLOCK = 65536
PLACES = 509
KILLS = int(os.environ.get("GUISE_KILLS", "0") or "0") or 4
# Each write goes to another place, in an order that makes clusters scatter.
WRITER = ("n=%d; while :; do n=$((n + 1)); yes \"block $n\" | dd of=/dev/vda bs=64k count=1 "
          "seek=$((n * 37 %% 509)) iflag=fullblock conv=notrunc,fsync 2>/dev/null && "
          "echo \"flushed $n\"; done\n")


def block(n):
    line = b"block %d\n" % n
    return (line * (BLOCK // len(line) + 1))[:BLOCK]


def test_kills():
    rng = random.Random(seed())
    image_checker = tool("qemu-img")
    leaks = writes = first = 0
    flushed = {}  # the last number at a place
    with scratch() as directory:
        disk, flat = directory + "/disk.qcow2", directory + "/flat"
        code, _, err = run(["disk", "create", disk, "64M"])
        check(code == 0, "disk create", err)
        for kill in range(KILLS):
            with Machine(["run", *linux("console=ttyS0 quiet"), "--disk", disk], seconds=120) as m:
                m.login()
                m.send(WRITER.encode() % first)
                m.expect(rb"flushed \d+")
                end = time.monotonic() + rng.uniform(0, 1.5)
                while time.monotonic() < end:
                    m.expect(rb"flushed \d+")
                time.sleep(rng.uniform(0, 0.05))
                m.process.kill()
                m.wait()
            last = first
            for word in re.findall(rb"flushed (\d+)\r", m.log):
                last = int(word)
                flushed[last * 37 % PLACES] = last
            writes += last - first
            # The one write that was under way may be there, or a part of it.
            flushed.pop((last + 1) * 37 % PLACES, None)
            code, out, err = run(["check", disk], program=image_checker)
            check(code in (0, 3), "kill %d: qemu-img check: %d" % (kill, code), out + err)
            leaks += code == 3
            code, _, err = run(["disk", "convert", disk, flat])
            check(code == 0, "disk convert", err)
            with open(flat, "rb") as file:
                content = file.read()
            os.unlink(flat)
            for place, n in flushed.items():
                got = content[place * BLOCK:(place + 1) * BLOCK]
                check(got == block(n), "kill %d: block %d is not what was flushed as %d" %
                      (kill, place, n), got[:60])
            first = last + 1
    check(writes >= KILLS, "the guest wrote nothing")
    print("%d kills, %d writes, %d left leaks" % (KILLS, writes, leaks))


if __name__ == "__main__":
    harness.main(globals())
