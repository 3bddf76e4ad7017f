"""The benchmark programs (bench/programs): built, run on a system, and their lines read.

A system is a name and a function run(keys, scale) that returns {key: Result}. A key is the name of
a program, or NAME/2 for the same program with two harts."""

import fcntl
import glob
import hashlib
import os
import re
import subprocess
import sys
import time
from collections import namedtuple

from common import ROOT, BenchError, Missing, Process, guest, guise_machine, qemu_machine

SOURCES = ROOT + "/bench/programs"
COMPILERS = {"native": ["gcc"], "riscv64": ["riscv64-linux-gnu-gcc", "-march=rv64gc"]}
FLAGS = ["-O2", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra"]
# Where each point of a fractal has to come out the same with and without fused operations.
FLAGS_OF = {"mandelbrot": ["-ffp-contract=off"]}

# A guest that says nothing for so long hangs.
SILENCE = 900

Program = namedtuple("Program", "name group harts full quick tiny")
# Seconds by the clock that the program sees and by this host's (None where they are the same),
# the checksum, and the bits that the same binary must give everywhere.
Result = namedtuple("Result", "seconds wall checksum exact")


# ---- building -----------------------------------------------------------------------------------


def run_compiler(command):
    try:
        done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise Missing("%s is not installed; `tools/setup bench` installs it"
                      % command[0]) from None
    if done.returncode:
        raise BenchError("%s failed: %s" % (" ".join(command), done.stdout))
    return done.stdout


def compile_all(compiler, directory):
    objects = []
    for source in sorted(glob.glob(SOURCES + "/*.c")):
        name = os.path.basename(source)[:-2]
        objects.append("%s/%s.o" % (directory, name))
        sys.stderr.write(run_compiler([*compiler, *FLAGS, *FLAGS_OF.get(name, []), "-c", source,
                                       "-o", objects[-1]]))
    program = directory + "/programs"
    run_compiler([*compiler, "-static", "-o", program + ".new", *objects, "-lm", "-pthread"])
    os.rename(program + ".new", program)


def build(build_directory):
    """Builds what is outdated; returns the paths of the native and the riscv64 binary."""
    paths = []
    for kind, compiler in COMPILERS.items():
        directory = os.path.join(build_directory, "bench", kind)
        os.makedirs(directory, exist_ok=True)
        key = hashlib.sha256(repr((compiler, FLAGS, FLAGS_OF,
                                   run_compiler([compiler[0], "--version"]))).encode())
        for source in sorted(glob.glob(SOURCES + "/*")):
            with open(source, "rb") as file:
                key.update(source.encode() + b"\0" + file.read())
        with open(directory + "/stamp", "a+", encoding="ascii") as stamp:
            # Tests that run side by side build once.
            fcntl.flock(stamp, fcntl.LOCK_EX)
            stamp.seek(0)
            if stamp.read() != key.hexdigest():
                stamp.truncate(0)
                compile_all(compiler, directory)
                stamp.write(key.hexdigest())
        paths.append(directory + "/programs")
    return paths


def catalogue(native):
    """{name: Program} in the order in which they run."""
    lines = subprocess.run([native, "list"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    programs = {}
    for line in lines:
        name, group, harts, *counts = line.split()
        programs[name] = Program(name, group, int(harts), *map(int, counts))
    return programs


def keys_of(programs, only=None):
    """All keys, or those that `only` names; a program for two harts also runs on one when it works
    there by switching between processes."""
    keys = []
    for program in programs.values():
        if program.harts == 1 or program.group == "trap":
            keys.append(program.name)
    keys += [program.name + "/2" for program in programs.values() if program.harts == 2]
    if not only:
        return keys
    for name in only:
        if name not in programs and name not in keys:
            raise BenchError("there is no program %s; these are: %s" % (name, " ".join(programs)))
    return [key for key in keys if key in only or name_of(key) in only]


def name_of(key):
    return key.partition("/")[0]


def harts_of(key):
    return int(key.partition("/")[2] or 1)


# ---- reading results ------------------------------------------------------------------------


class Reader:
    """Collects the results in a program's output."""

    def __init__(self):
        self.results = {}
        self.started = None
        self.ended = False

    def line(self, when, text):
        """Takes a line that arrived at a time of the host's clock."""
        # A kernel's message may come before it on the same line.
        match = re.search(r"bench: (\w+)(.*)", text)
        if not match:
            return
        name, rest = match.group(1), match.group(2).split()
        if name == "end" and not rest:
            self.ended = True
        elif rest == ["start"]:
            self.started = when
        elif len(rest) == 3 and re.fullmatch(r"\d+\.\d+", rest[0]) and self.started is not None:
            self.results[name] = Result(float(rest[0]), when - self.started, *rest[1:])
        else:
            raise BenchError(match.group(0))


def run_process(command, key, **more):
    """One program as a process of this host."""
    reader = Reader()
    with Process(command, **more) as process:
        for when, text in process.lines(SILENCE):
            reader.line(when, text)
        if name_of(key) not in reader.results:
            raise process.error("gave no result for " + key)
    return reader.results[name_of(key)]._replace(wall=None)


def pin(harts):
    """For a child before exec: no more processors than a machine would have harts."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-harts:])


def native_system(binary, pinned=False):
    """With pinned, a program gets as many processors as the machines beside it have harts."""
    def run(keys, scale):
        results = {}
        for key in keys:
            more = {"preexec_fn": lambda count=harts_of(key): pin(count)} if pinned else {}
            results[key] = run_process([binary, name_of(key), scale], key, **more)
        return results
    return run


def user_system(prefix, binary, environment):
    """A user-mode emulator: a command that the guest program's path follows."""
    def run(keys, scale):
        return {key: run_process([*prefix, binary, name_of(key), scale], key,
                                 env=dict(os.environ, **environment)) for key in keys}
    return run


def run_machine(command, names):
    """Boots a machine with the programs' initramfs and returns the results, which it prints."""
    reader = Reader()
    with Process(command) as process:
        try:
            for when, text in process.lines(SILENCE):
                reader.line(when, text)
                if reader.ended:
                    break
        except BenchError as error:
            raise process.error("failed, %s" % error) from None
        if not reader.ended or set(names) != set(reader.results):
            raise process.error("ended without the results of all programs")
    return reader.results


def machine_system(command_of):
    """command_of(harts, append) is the command that boots the programs' initramfs."""
    def run(keys, scale):
        results = {}
        for harts in sorted({harts_of(key) for key in keys}):
            names = [name_of(key) for key in keys if harts_of(key) == harts]
            append = "console=ttyS0 quiet BENCH_SCALE=%s BENCH_PROGRAMS=%s" % (scale,
                                                                             ",".join(names))
            found = run_machine(command_of(harts, append), names)
            results.update({key: found[name_of(key)] for key in keys if harts_of(key) == harts})
        return results
    return run


def initramfs(binary, build_directory):
    return guest("initramfs", "--init", ROOT + "/bench/lib/init", "--modules", "", "--add",
                 "programs=" + binary, "-o", os.path.join(build_directory, "bench/programs.cpio"))


def qemu_system(qemu, kernel, initrd):
    return machine_system(lambda harts, append: qemu_machine(
        qemu + "/qemu-system-riscv64", harts, kernel, initrd, append))


def guise_system(guise, kernel, initrd, more):
    return machine_system(lambda harts, append: guise_machine(
        guise, harts, kernel, initrd, append, more))


def qemu_user_system(qemu, binary):
    emulator = qemu + "/qemu-riscv64"
    return user_system([emulator], binary, {"BENCH_EMULATOR": emulator})


# ---- rounds -------------------------------------------------------------------------------------


def measure(systems, keys, scale, rounds, say):
    """Runs all systems in turn; returns {system: {key: [Result]}}. say(text) tells the progress."""
    collected = {name: {key: [] for key in keys} for name in systems}
    for number in range(rounds):
        for name, run in systems.items():
            start = time.monotonic()
            for key, result in run(keys, scale).items():
                collected[name][key].append(result)
            say("round %d of %d: %s, %.0f s" % (number + 1, rounds, name,
                                               time.monotonic() - start))
    return collected


def differences(collected, same_binary):
    """One sentence for each checksum that is not equal on all systems, and for each set of exact
    bits that is not equal on those in same_binary."""
    problems = []
    for key in next(iter(collected.values())):
        for field, names in (("checksum", collected), ("exact", same_binary)):
            values = {name: sorted({getattr(result, field) for result in collected[name][key]})
                      for name in names}
            if len({value for some in values.values() for value in some}) > 1:
                problems.append("%s: the %s differs: %s" % (
                    key, "checksum" if field == "checksum" else "last bit", ", ".join(
                        "%s %s" % (name, " ".join(some)) for name, some in values.items())))
    return problems
