#!/usr/bin/env python3
"""Saved state: a deterministic run that is saved, loaded by a new process and continued, many times
over, prints the same bytes and comes to the same state as one that is not interrupted; GUISE_LONG=1
does it for more moments and with the kernel's tests of itself."""

import os
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import FACTOR, Bare, check, guest, linux, run, scratch, seed, text

HERE = os.path.dirname(os.path.realpath(__file__))
LONG = bool(os.environ.get("GUISE_LONG"))
MS = 1000000
DISK = 1 << 20


class Result:
    """Console bytes, hash of the final state, bytes of the disk."""

    def __init__(self, console, state, disk):
        self.console, self.state, self.disk = console, state, disk


class Setup:
    """A machine that can be run in parts."""

    def __init__(self, directory, options, disk=False):
        self.directory = directory
        self.options = options
        self.has_disk = disk
        self.saving = self.largest = 0

    def start(self):
        """A fresh disk."""
        self.disk = self.directory + "/disk"
        with open(self.disk, "wb") as file:
            file.truncate(DISK)

    def part(self, until, load=None, save=None):
        """Console bytes and state hash of one process."""
        console = self.directory + "/console"
        args = ["run", "--deterministic", "--stats", "--run-for", str(until), "--console",
                "file:" + console, *self.options]
        args += ["--disk", self.disk] if self.has_disk else []
        args += ["--load", load] if load else []
        args += ["--save", save] if save else []
        code, out, err = run(args, seconds=120)
        state = re.search(rb"state hash +([0-9a-f]{16})", err)
        with open(console, "rb") as file:
            printed = file.read()
        check(code == 0 and state and not out, "exit code %d of %s" % (code, " ".join(args)),
              printed + out + err)
        if save:
            self.largest = max(self.largest, os.path.getsize(save))
        return printed, state.group(1).decode()

    def unbroken(self, until):
        self.start()
        console, state = self.part(until)
        return Result(console, state, self.disk_bytes())

    def broken(self, until, breaks):
        """The same, saved and loaded at each of `breaks`."""
        self.start()
        console, load = b"", None
        for number, moment in enumerate(breaks):
            save = "%s/state%d" % (self.directory, number % 2)
            printed, saved = self.part(moment, load, save)
            console += printed
            load = save
        printed, state = self.part(until, load)
        return Result(console + printed, state, self.disk_bytes())

    def disk_bytes(self):
        with open(self.disk, "rb") as file:
            return file.read()


def same(reference, result, what):
    if result.console != reference.console:
        a, b = reference.console, result.console
        at = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
        check(False, "%s: the console differs from byte %d: %r, not %r"
              % (what, at, text(b[at:at + 60]), text(a[at:at + 60])), b[:at])
    check(result.disk == reference.disk, what + ": the disk differs")
    check(result.state == reference.state, "%s: the state is %s, not %s"
          % (what, result.state, reference.state), result.console)


def initramfs(directory):
    return guest("initramfs", "--init", HERE + "/snapshot.init", "-o", directory + "/initramfs")


def across(name, options, until, breaks, singles=0, whole=False, disk=False):
    """`breaks` random moments in one chain, and `singles` runs with one break each."""
    rng = random.Random(seed())
    if FACTOR > 1:  # a slow build looks for mistakes in the code, not for many moments
        breaks, singles = min(breaks, 6), min(singles, 1)
    with scratch(big=True) as directory:
        initrd = initramfs(directory)
        setup = Setup(directory, [*options, *linux("console=ttyS0", initrd, whole)], disk)
        start = time.monotonic()
        reference = setup.unbroken(until)
        one = time.monotonic() - start
        check(b"Linux version" in reference.console, "no boot", reference.console)
        moments = sorted(rng.randrange(1, until) for _ in range(breaks))
        start = time.monotonic()
        same(reference, setup.broken(until, moments), "saved at " + " ".join(map(str, moments)))
        chain = time.monotonic() - start
        for _ in range(singles):
            moment = rng.randrange(1, until)
            same(reference, setup.broken(until, [moment]), "saved at %d" % moment)
        print("%s: %d bytes of console, %d breaks, %d single ones; unbroken %.1f s, in parts %.1f s; "
              "largest state %.1f MB" % (name, len(reference.console), breaks, singles, one, chain,
                                         setup.largest / 1e6))
        return reference


def test_boot():
    """Across the whole boot of the kernel and what /init then does with its devices."""
    until, singles = (2400 * MS, 10) if LONG else (1000 * MS, 0)
    breaks = 50 if LONG else 25 if harness.engine == "interp" else 15
    end = across("boot", [], until, breaks, singles, whole=LONG, disk=True)
    check(b"\n2 " in end.console, "the guest did not come to use its disk", end.console)
    check(any(end.disk), "the disk was not written")


def test_two_harts():
    across("two harts", ["--cpus", "2"], 800 * MS, 12 if LONG else 6)


def test_firmware():
    """With OpenSBI: the machine's own timers and software interrupts instead of SBI by guise."""
    across("firmware", ["--firmware", guest("firmware") + "/fw_dynamic.bin", "--cpus", "2"],
           800 * MS, 10 if LONG else 5)


def test_busy_devices():
    """A bare program that keeps interrupt controller, timers, clock and serial port between states:
    what a kernel's boot has for some microseconds only is there at every moment."""
    rng = random.Random(seed())
    until = 20 * MS
    with scratch() as directory:
        image = Bare(directory).make("busy") + ".bin"
        setup = Setup(directory, ["--firmware", image, "--cpus", "2", "--memory", "8M"])
        reference = setup.unbroken(until)
        check(len(set(reference.console.splitlines())) > 50, "it printed", reference.console)
        for _ in range(3 if LONG else 2):
            moments = sorted(rng.randrange(1, until) for _ in range(60))
            same(reference, setup.broken(until, moments), "saved at " + " ".join(map(str, moments)))


def test_slow_console():
    """How fast the host takes the output has no influence on a deterministic run."""
    with scratch() as directory:
        image = Bare(directory).make("flood") + ".bin"
        args = ["run", "--firmware", image, "--memory", "8M", "--deterministic", "--stats",
                "--run-for", "%d" % (3000 * MS)]
        code, _, err = run([*args, "--console", "none"])
        check(code == 0, "exit code %d" % code, err)
        expected = re.search(rb"instructions +(\d+).*state hash +(\w+)", err, re.DOTALL).groups()
        with subprocess.Popen([harness.guise, *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(0.5)
            out = b""
            while data := os.read(process.stdout.fileno(), 8192):
                out += data
                time.sleep(0.001)
            err = process.stderr.read()
        check(len(out) == 1 << 20, "%d bytes came" % len(out))
        got = re.search(rb"instructions +(\d+).*state hash +(\w+)", err, re.DOTALL).groups()
        check(got == expected, "instructions and state: %r, not %r" % (got, expected), err)


if __name__ == "__main__":
    harness.main(globals())
