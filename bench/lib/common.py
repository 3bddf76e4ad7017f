"""What the scripts in bench/ share: paths, guests, processes that are read line by line, figures."""

import math
import os
import select
import statistics
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class BenchError(Exception):
    """One sentence for the person who reads it."""


class Missing(BenchError):
    """What a run needs is not on this machine and cannot be fetched."""


def guest(*verb):
    """What tools/guest prints for a verb: the path of a kernel, an initramfs, QEMU's folder."""
    done = subprocess.run([ROOT + "/tools/guest", *verb], check=False, text=True,
                          stdout=subprocess.PIPE)
    if done.returncode:
        raise Missing("tools/guest %s failed" % verb[0])
    return done.stdout.strip()


def kernel_release(kernel):
    with open(os.path.dirname(os.path.realpath(kernel)) + "/release", encoding="ascii") as file:
        return file.read().strip()


def first_line(command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout.splitlines()[0]


def tail(lines):
    return "\n".join(lines[-15:])


class Process:
    """A program whose output is read while it runs. A context manager: it ends with the block."""

    def __init__(self, command, **more):
        self.command = command
        self.start = time.monotonic()
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, **more)
        self.seen = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.communicate()

    def lines(self, silence):
        """Yields (seconds since the start, line) until the end of the output. No output for so many
        seconds is an error."""
        rest = b""
        descriptor = self.child.stdout.fileno()
        while True:
            if not select.select([descriptor], [], [], silence)[0]:
                raise self.error("was silent for %d s" % silence)
            data = os.read(descriptor, 65536)
            now = time.monotonic() - self.start
            *complete, rest = (rest + data).split(b"\n")
            if not data and rest:
                complete = [rest]
            for line in complete:
                text = line.decode(errors="replace").rstrip("\r")
                self.seen.append(text)
                yield now, text
            if not data:
                return

    def error(self, what):
        return BenchError("this %s: %s\n%s" % (what, " ".join(self.command), tail(self.seen)))


def median(values):
    return statistics.median(values)


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def qemu_machine(qemu, harts, kernel, initrd, append):
    """QEMU's system emulator in its default set-up: one translator thread for each hart."""
    return [qemu, "-M", "virt", "-m", "256", "-smp", str(harts), "-nographic", "-kernel", kernel,
            "-initrd", initrd, "-append", append]


def guise_machine(guise, harts, kernel, initrd, append, more=()):
    return [guise, "run", "--cpus", str(harts), "--memory", "256M", "--kernel", kernel, "--initrd",
            initrd, "--append", append, *more]
