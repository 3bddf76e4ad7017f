#!/usr/bin/env python3
"""Debian's riscv64 programs with translations of earlier runs: always the right results, whatever
has happened to the files.

    tests/proc/cache.py GUISE [test_NAME...]

GUISE_KILLS is how many processes test_killed kills, 16 by default."""

import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
# pylint: disable=wrong-import-position
import harness
from harness import FACTOR, Failure, check, guest, main, require_exec, run, seed

SECONDS = 120
SCRIPT = "import hashlib, json; print(json.dumps([hashlib.sha256(str(i).encode()).hexdigest() " \
         "for i in range(300)])[-40:])"
SHORT = "print(sum(range(1000)))"


class Cache:
    """A directory of its own, and programs that use it."""

    def __init__(self, directory, script):
        self.directory = directory + "/cache"
        self.environment = {**os.environ, "GUISE_CACHE": self.directory, "LC_ALL": "C.UTF-8"}
        root = guest("programs")
        self.words = ["exec", "--stats", "--sysroot", root, "--", root + "/usr/bin/python3", "-c",
                      script]
        code, self.right, _ = run(["-c", script], program=sys.executable)
        check(code == 0, "natively")

    def start(self):
        return subprocess.Popen([harness.guise, *self.words], env=self.environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def end(self, process):
        """How many regions of earlier runs the process used."""
        out, err = process.communicate(timeout=SECONDS * FACTOR)
        check(process.returncode == 0 and out == self.right, "ended with %d" % process.returncode,
              out + err)
        return int(err.split(b"\nloaded")[1].split()[0])

    def verb(self, name):
        return run(["cache", name], env=self.environment)

    def files(self):
        return [os.path.join(self.directory, name) for name in os.listdir(self.directory)
                if name.endswith(".unit")]


def with_cache(test, script=SCRIPT):
    def wrapped():
        with tempfile.TemporaryDirectory(prefix="guise-cache-") as directory:
            test(Cache(directory, script))
    return wrapped


def with_short_runs(test):
    return with_cache(test, SHORT)


@with_cache
def test_second_run(cache):
    check(cache.end(cache.start()) == 0, "the first run found something")
    check(cache.end(cache.start()) > 100, "the second run found nothing")
    code, out, _ = cache.verb("status")
    check(code == 0 and cache.directory.encode() in out, "status", out)
    code, out, _ = cache.verb("verify")
    check(code == 0 and b" 0 damaged" in out, "verify", out)
    code, out, _ = cache.verb("clear")
    check(code == 0 and not cache.files(), "clear", out)
    check(cache.end(cache.start()) == 0, "something was found after clear")


@with_short_runs
def test_many_at_once(cache):
    for processes in (24, 8):
        for process in [cache.start() for _ in range(processes)]:
            cache.end(process)
    code, out, _ = cache.verb("verify")
    check(code == 0, "verify", out)
    check(cache.end(cache.start()) > 100, "nothing was kept")


@with_cache
def test_killed(cache):
    chance = random.Random(seed())
    for _ in range(int(os.environ.get("GUISE_KILLS", "16"))):
        process = cache.start()
        try:
            process.wait(chance.random() * 1.5)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    cache.end(cache.start())
    if os.path.isdir(cache.directory):
        code, out, _ = cache.verb("verify")
        check(code == 0, "verify", out)


@with_cache
def test_damaged(cache):
    chance = random.Random(seed())
    cache.end(cache.start())
    for _ in range(8):
        for path in cache.files():
            with open(path, "r+b") as file:
                size = os.fstat(file.fileno()).st_size
                for _ in range(30):
                    file.seek(chance.randrange(size))
                    file.write(bytes([chance.randrange(256)]))
                if chance.random() < 0.2:
                    file.truncate(chance.randrange(size))
        cache.end(cache.start())
    code, out, _ = cache.verb("verify")
    if code not in (0, 1) or (code == 1) != (b" 0 damaged" not in out):
        raise Failure("verify: %d %s" % (code, out))
    check(cache.verb("verify")[0] == 0, "what is damaged was not removed")


@with_cache
def test_not_ours(cache):
    cache.end(cache.start())
    os.chmod(cache.directory, 0o777)
    check(cache.end(cache.start()) == 0, "a directory that all may write to was used")
    os.chmod(cache.directory, 0o700)
    for path in cache.files():
        os.chmod(path, 0o620)
    check(cache.end(cache.start()) == 0, "files that a group may write to were used")


require_exec(sys.argv[1])
main(globals())
