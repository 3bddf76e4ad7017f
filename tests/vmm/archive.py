#!/usr/bin/env python3
"""Translations of a machine that are kept between its runs: the second run compiles hardly anything,
another disk's machine has none of them, and whatever happens to the file, the guest runs as ever."""

import glob
import os
import random
import re
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Machine, Skip, check, linux, run, scratch, seed, text

WORK = ("for i in 1 2 3; do (md5sum /bin/busybox; awk 'BEGIN {for (i = 0; i < 20000; i++) "
        "x += i * 1.5; print x}'; ls -lR /sys >/dev/null) & done; wait")


class Place:
    """A disk, and a directory for what is kept."""

    def __init__(self, directory):
        self.disk = directory + "/disk"
        self.cache = harness.cache = directory + "/cache"
        with open(self.disk, "wb") as file:
            file.truncate(1 << 20)

    def files(self):
        return glob.glob(self.cache + "/*.archive")

    def run(self, *more, disk=None):
        """(regions compiled, regions loaded) of a boot with some work in it."""
        with Machine(["run", "--engine", "dbt", "--stats", "--disk",
                      disk or self.disk + ",format=raw", *linux("console=ttyS0 quiet"), *more],
                     seconds=120) as m:
            m.login()
            out = m.shell(WORK)
            check(out.count("/bin/busybox") == 3 and out.count("299985000") == 3, out)
            m.send(b"poweroff -f\n")
            m.end(0)
            said = text(m.log)
            if "does not tell when files were made" in said:
                raise Skip("the file system has no times of birth")
            return tuple(int(re.search(r"\n%s +(\d+)" % word, said).group(1))
                         for word in ("regions", "loaded"))


def test_second_run():
    with scratch() as directory:
        place = Place(directory)
        first, _ = place.run()
        check(len(place.files()) == 1, "files: %r" % place.files())
        compiled, loaded = place.run()
        print("first %d compiled; second %d, and %d loaded" % (first, compiled, loaded))
        check(loaded > first // 2 and compiled < first // 3, "that is not what was compiled before")
        compiled, loaded = place.run("--no-cache")
        check(loaded == 0 and compiled > first // 2, "--no-cache: %d, %d" % (compiled, loaded))
        # A copy is another disk.
        shutil.copyfile(place.disk, directory + "/copy")
        _, again = place.run(disk=directory + "/copy,format=raw")
        check(again < loaded + first // 2 and len(place.files()) == 2, "a copy has loaded %d" % again)


def test_disk_over_it():
    """A machine with a disk over another one has what that one's has made, and does not change it."""
    with scratch() as directory:
        place = Place(directory)
        first, _ = place.run()
        path, = place.files()
        with open(path, "rb") as file:
            made = file.read()
        for name, backing, what in (("middle", "disk", "raw"), ("top", "middle", "qcow2")):
            code, _, err = run(["disk", "create", "--format", "qcow2", "--backing",
                                directory + "/" + backing, "--backing-format", what,
                                directory + "/" + name])
            check(code == 0, "disk create", err)
        compiled, loaded = place.run(disk=directory + "/top")
        check(loaded > first // 2 and compiled < first // 3,
              "%d compiled below; %d above it, and %d loaded" % (first, compiled, loaded))
        with open(path, "rb") as file:
            check(file.read() == made, "what is below was changed")
        check(len(place.files()) == 2, "files: %r" % place.files())


def test_two_harts():
    """What one has compiled the other one loads."""
    with scratch() as directory:
        _, loaded = Place(directory).run("--cpus", "2")
        check(loaded > 100, "%d loaded" % loaded)


def test_damaged():
    rng = random.Random(seed())
    with scratch() as directory:
        place = Place(directory)
        place.run()
        path = place.files()[0]
        for _ in range(3):
            with open(path, "r+b") as file:
                size = file.seek(0, os.SEEK_END)
                for _ in range(2000):
                    file.seek(rng.randrange(64, size))
                    file.write(rng.randbytes(rng.randrange(1, 16)))
                file.truncate(size - rng.randrange(1, 1000))
            place.run("--cpus", "2")


if __name__ == "__main__":
    harness.main(globals())
