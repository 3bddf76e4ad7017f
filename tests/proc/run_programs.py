#!/usr/bin/env python3
"""The programs of tests/proc/programs under `guise exec`: they must print what they print natively.

    tests/proc/run_programs.py GUISE [--engine NAME] [--runner COMMAND] [--list] [NAME...]

A NAME is a program (sys_mmap), a group, which is what the names before the first _ are called (sys),
or a program as it is linked (sys_mmap/static). Without one, all run.

Each C file is one program, built for this host and for riscv64, the latter static and dynamic; a
line `run: static` or `run: dynamic` in its first comment chooses one (the interpreter runs the static
one, and both with GUISE_LONG=1), `with: --option value` are options of guise. A program checks what it can
itself, prints what is the same on both architectures, and ends with 0; or with 77 and a reason on
its error output when this machine lacks something. It runs in an empty directory that goes away.

--runner takes another command in place of `GUISE exec`, to see whether a program is right:
`--runner "qemu-riscv64 -L /usr/riscv64-linux-gnu"`. "native" only runs natively."""

import argparse
import concurrent.futures
import difflib
import fcntl
import glob
import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
# pylint: disable=wrong-import-position
from harness import FACTOR, ROOT, Failure, Skip, require_exec, text, tool

SOURCES = ROOT + "/tests/proc/programs"
SYSROOT = "/usr/riscv64-linux-gnu"
SECONDS = 60
# Each rounding of floating point is to be done, in the order in which it is written.
FLAGS = ["-O2", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing",
         "-ffp-contract=off", "-frounding-math", "-pthread",
         # Some calls are wrong on purpose.
         "-Wno-stringop-overflow", "-Wno-stringop-overread", "-Wno-nonnull", "-Wno-array-bounds",
         "-Wno-clobbered"]
KINDS = {"native": ("gcc", []), "static": ("riscv64-linux-gnu-gcc", ["-static"]),
         "dynamic": ("riscv64-linux-gnu-gcc", [])}


# ---- building -----------------------------------------------------------------------------------


def names_of(words, both):
    """The programs that the words name, as (name, kinds for riscv64); not `both`: static if it can be."""
    chosen = []
    for path in sorted(glob.glob(SOURCES + "/*_*.c")):
        name = os.path.basename(path)[:-2]
        with open(path, encoding="utf-8") as file:
            run = re.search(r"\brun: (static|dynamic)\b", file.read(2000))
        kinds = [run.group(1)] if run else ["static", "dynamic"]
        if len(kinds) == 2 and not both and not any("/" in word for word in words):
            kinds = ["static"]
        if words and not {name, name.partition("_")[0]} & set(words):
            kinds = [kind for kind in kinds if "%s/%s" % (name, kind) in words]
        if kinds:
            chosen.append((name, kinds))
    return chosen


def options_of(name):
    """What guise is given for the program."""
    with open("%s/%s.c" % (SOURCES, name), encoding="utf-8") as file:
        with_options = re.search(r"\bwith: (--[^*\n]+)", file.read(2000))
    return shlex.split(with_options.group(1)) if with_options else []


def compile_one(directory, name, kind):
    """The path of the program, built if it is outdated."""
    compiler, more = KINDS[kind]
    source = "%s/%s.c" % (SOURCES, name)
    command = [tool(compiler), *FLAGS, *more, source, "-lm"]
    key = hashlib.sha256(repr(command).encode())
    for path in [source, *sorted(glob.glob(SOURCES + "/*.h"))]:
        with open(path, "rb") as file:
            key.update(file.read())
    program = "%s/%s/%s" % (directory, kind, name)
    os.makedirs(os.path.dirname(program), exist_ok=True)
    with open(program + ".stamp", "a+", encoding="ascii") as stamp:
        # Tests that run side by side build once.
        fcntl.flock(stamp, fcntl.LOCK_EX)
        stamp.seek(0)
        if stamp.read() != key.hexdigest():
            stamp.truncate(0)
            done = subprocess.run([*command, "-o", program], text=True, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                raise Failure("%s\n%s" % (shlex.join(command), done.stdout))
            stamp.write(key.hexdigest())
    return program


# ---- running ------------------------------------------------------------------------------------


def run(command):
    """(exit code, standard output, standard error) in a directory of its own."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "TESTED": "yes"}
    environment.update({name: value for name, value in os.environ.items()
                        if name.startswith(("GUISE_", "ASAN_", "UBSAN_"))})
    with tempfile.TemporaryDirectory(prefix="guise-test-") as directory:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True)
        try:
            out, err = process.communicate(timeout=SECONDS * FACTOR)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            err += b"\nno end within %d s" % (SECONDS * FACTOR)
    return process.returncode, out, err


def explain(command, code, out, err, expected=None):
    what = "ended with signal %d" % -code if code < 0 else "ended with %d" % code
    parts = [what, "$ " + shlex.join(command)]
    if expected is not None and out != expected:
        parts.append("\n".join(difflib.unified_diff(
            text(expected).splitlines(), text(out).splitlines(), "natively", "here", lineterm="")))
    else:
        parts += [text(out)[-2000:]]
    return "\n".join(parts + [text(err)[-4000:]])


def run_natively(directory, name):
    """What the program prints."""
    command = [compile_one(directory, name, "native")]
    code, out, err = run(command)
    if code == 77:
        raise Skip("natively: " + text(err).strip())
    if code:
        raise Failure("natively: " + explain(command, code, out, err))
    return out


def run_foreign(program, prefix, options, expected):
    at = prefix.index("exec") + 1 if "exec" in prefix else 0
    command = [*prefix[:at], *(options if at else []), *prefix[at:], program]
    code, out, err = run(command)
    if code == 77:
        raise Skip(text(err).strip())
    if code or out != expected:
        raise Failure(explain(command, code, out, err, expected))


class Report:
    def __init__(self, again):
        self.again = again
        self.failed, self.passed = [], 0

    def one(self, name, function):
        """Runs a test; returns its result, None if there is none."""
        start = time.monotonic()
        try:
            result = function()
        except Skip as reason:
            print("skip %s: %s" % (name, reason), flush=True)
        except Failure as reason:
            self.failed.append(name)
            print("FAILED %s: %s\nalone: %s %s" % (name, reason, self.again, name), flush=True)
        else:
            self.passed += "/native" not in name
            print("ok %s (%.1f s)" % (name, time.monotonic() - start), flush=True)
            return result
        return None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guise")
    parser.add_argument("--engine")
    parser.add_argument("--runner", default=os.environ.get("GUISE_TEST_RUNNER"))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    return parser.parse_intermixed_args()


def prefix_of(options):
    if options.runner:
        return shlex.split(options.runner)
    if subprocess.run([options.guise, "help", "exec"], check=False, stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode:
        raise Skip("this guise has no verb 'exec'")
    engine = ["--engine", options.engine] if options.engine else []
    return [os.path.abspath(options.guise), "exec", *engine, "--sysroot", SYSROOT, "--"]


def main():
    options = arguments()
    programs = names_of(options.names, options.engine != "interp" or os.environ.get("GUISE_LONG"))
    if options.list:
        print("\n".join("%s: %s" % (name, " ".join(kinds)) for name, kinds in programs))
        return 0
    if not programs:
        raise Skip("there is no program %s in %s" % (" ".join(options.names), SOURCES))
    directory = os.path.join(os.path.dirname(os.path.abspath(options.guise)), "proc-programs")
    only_native = options.runner == "native"
    prefix = [] if only_native else prefix_of(options)
    if only_native:
        programs = [(name, []) for name, _ in programs]
    for kind in {"native", *(kind for _, kinds in programs for kind in kinds)}:
        tool(KINDS[kind][0])

    words = [os.path.relpath(sys.argv[0]), options.guise]
    for option in ("engine", "runner"):
        if getattr(options, option):
            words += ["--" + option, getattr(options, option)]
    if not only_native and not options.runner:
        require_exec(options.guise)
    report = Report(shlex.join(words))
    # All are compiled first, as many at a time as there are processors.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {(name, kind): pool.submit(compile_one, directory, name, kind)
                for name, kinds in programs for kind in ["native", *kinds]}
    for name, kinds in programs:
        expected = report.one(name + "/native", lambda: run_natively(directory, name))
        for kind in kinds:
            if expected is not None:
                report.one("%s/%s" % (name, kind),
                           lambda: run_foreign(jobs[name, kind].result(), prefix, options_of(name),
                                               expected))
    if report.failed:
        print("failed: " + " ".join(report.failed))
        return 1
    return 0 if report.passed or only_native else 77


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skip as problem:
        print("skipped: %s" % problem)
        sys.exit(77)
