#!/usr/bin/env python3
"""Test suites of others, in a riscv64 root under guise and in an amd64 root natively: every case must
have the same verdict.

    tests/suites/run.py [-o DIRECTORY] RISCV64-ROOT AMD64-ROOT SUITE [NAME...]

SUITE is python, perl or busybox; NAMEs choose some of its files (test_os, op/sprintf.t, grep).
The roots are of the same Debian release (docs/testing.md tells how they are made); guise has to be
the kernel's handler of riscv64 programs, and it needs root, as chroot does. Each file of a suite runs
in namespaces of its own, with an empty /tmp, and what it writes to /usr/src goes away. Outputs go to
DIRECTORY (suites-out), verdicts to DIRECTORY/SUITE-ARCH.json; files whose verdicts are there already
are not run again. A file with verdicts that differ is run again on both sides, and only what differs
both times is told.

The exit code is 0 if the verdicts are the same but for those that expected.txt lists, each with the
reason: lines SUITE CASE, the latter as a regular expression."""

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.realpath(__file__))
SECONDS = 3600
# What a file of a suite sees: mounts and a network of its own, which end with it.
PREPARE = """
ip link set lo up && mount --make-rprivate / && mount --rbind /dev {root}/dev &&
mount -t proc proc {root}/proc && mount --rbind /sys {root}/sys &&
mount -t tmpfs -o mode=1777 tmpfs {root}/tmp && mount -t tmpfs tmpfs {root}/mnt &&
mkdir {root}/mnt/up {root}/mnt/work && {{
{keep} || mount -t overlay overlay {root}/usr/src -o \\
lowerdir={root}/usr/src,upperdir={root}/mnt/up,workdir={root}/mnt/work
}} || exit 125
cd {root}; exec chroot {root} /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp \\
LC_ALL=C.UTF-8 GUISE_CACHE={cache} sh -c {script}
"""


def words_of(name):
    """The lines of a list in this directory, without comments."""
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        lines = (line.partition("#")[0].strip() for line in file)
        return [line for line in lines if line]


class Python:
    """python3.13 -m test of Debian's libpython3.13-testsuite; a case is a test method."""

    # What a shell in the root does once, and for one file, given a limit in seconds and its name.
    prepare = "true"
    script = "cd /tmp; python3.13 -m test --timeout %d -v -u network --junit-xml /tmp/cases.xml %s; " \
             "code=$?; echo; echo '==== cases'; cat /tmp/cases.xml; exit $code"

    def names(self, _root):
        return words_of("python.txt")

    def verdicts(self, name, code, out):
        cases = {name: "exit code %d" % code}
        text = out.rpartition("==== cases\n")[2]
        try:
            found = xml.etree.ElementTree.fromstring(text).iter("testcase")
        except xml.etree.ElementTree.ParseError:
            return cases
        for case in found:
            tags = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
            cases[case.get("name")] = tags[0] if tags else "ok"
        return cases


class Perl:
    """The core tests of perl's source, unpacked to /usr/src/perl; a case is a line of TAP."""

    # Tests look for modules in lib only: those that are installed, and what else the tests use.
    prepare = "cd /usr/src/perl && mv lib lib.src && mkdir lib && " \
              "for d in $(perl -e 'print join q( ), grep { m{^/usr/(lib|share)/} && -d } @INC'); " \
              "do cp -r --update=none $d/. lib; done; cp -r --update=none lib.src/. lib && " \
              "ln -s /usr/bin/perl perl && ln -s /usr/bin/perl t/perl"
    script = "cd /usr/src/perl/t && PERL_CORE=1 exec timeout %d ./perl -I../lib %s"

    def names(self, root):
        top = root + "/usr/src/perl/t"
        return sorted(os.path.relpath(os.path.join(where, file), top)
                      for part in words_of("perl.txt") for where, _, files in os.walk(top + "/" + part)
                      for file in files if file.endswith(".t"))

    def verdicts(self, name, code, out):
        cases = {name: "exit code %d" % code}
        for line in re.finditer(r"(?m)^(not )?ok (\d+)(.*)", out):
            what = re.search(r"# (skip|todo)", line.group(3), re.IGNORECASE)
            verdict = ("not ok" if line.group(1) else "ok") + (what.group(1).lower() if what else "")
            cases["%s %s" % (name, line.group(2))] = verdict
        return cases


class Busybox:
    """The testsuite of Debian's busybox source, unpacked to /usr/src/busybox; a case is one of its
    lines."""

    # The links to all applets are made once.
    prepare = "cd /usr/src/busybox && cp /usr/bin/busybox . && cp debian/config/pkg/deb .config && " \
              "mkdir runtest-tempdir-links && ./busybox --install -s runtest-tempdir-links && " \
              "ln -s ../busybox runtest-tempdir-links/busybox && " \
              "sed -i '/^rm -rf .$LINKSDIR/,/^done/d' testsuite/runtest"
    script = "cd /usr/src/busybox/testsuite && SKIP_KNOWN_BUGS=y SKIP_INTERNET_TESTS=y " \
             "SHELL=/bin/sh ECHO=/bin/echo exec timeout %d ./runtest -v %s"

    def names(self, root):
        top = root + "/usr/src/busybox/testsuite/"
        return sorted({name.removesuffix(".tests") for name in os.listdir(top)
                       if os.path.isdir(top + name) or name.endswith(".tests")})

    def verdicts(self, name, code, out):
        cases = {name: "exit code %d" % code}
        for line in re.finditer(r"(?m)^(PASS|FAIL|SKIPPED|UNTESTED): (.*)", out):
            cases["%s: %s" % (name, line.group(2))] = line.group(1)
        return cases


SUITES = {"python": Python, "perl": Perl, "busybox": Busybox}


class Side:
    """One of the two roots, and what is known of it."""

    def __init__(self, arch, root, options):
        self.arch, self.root, self.directory = arch, os.path.realpath(root), options.o
        self.suite = SUITES[options.suite]()
        self.path = "%s/%s-%s.json" % (options.o, options.suite, arch)
        self.cases = {}
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.cases = json.load(file)

    def prepare(self):
        mark = "%s/usr/src/.prepared-%s" % (self.root, type(self.suite).__name__.lower())
        if not os.path.exists(mark):
            code, out = self.inside(self.suite.prepare, True)
            if code:
                sys.exit("%s: the suite cannot be prepared:\n%s" % (self.root, out))
            with open(mark, "w", encoding="ascii"):
                pass

    def inside(self, script, keep=False):
        """(exit code, output) of a script in the root. keep: what is in /usr/src then, stays."""
        script = PREPARE.format(root=shlex.quote(self.root), cache="/var/cache/guise",
                                keep=str(keep).lower(), script=shlex.quote(script))
        process = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child",
                                  "setsid", "--wait", "sh", "-c", script], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return process.returncode, process.stdout.decode("utf-8", "replace")

    def once(self, name):
        begin = time.monotonic()
        code, out = self.inside(self.suite.script % (SECONDS, name))
        log = "%s/%s-%s.log" % (self.directory, name.replace("/", "-"), self.arch)
        with open(log, "w", encoding="utf-8") as file:
            file.write(out)
        print("%-8s %-40s exit code %d, %.0f s" % (self.arch, name, code,
                                                  time.monotonic() - begin), flush=True)
        if code == 125:
            sys.exit("the root cannot be entered:\n" + out)
        return self.suite.verdicts(name, code, out)

    def run(self, names):
        self.prepare()
        for name in names:
            if name in self.cases:
                continue
            cases = self.once(name)
            self.cases[name] = cases
            with open(self.path + ".new", "w", encoding="utf-8") as file:
                json.dump(self.cases, file, indent=1, sort_keys=True)
            os.rename(self.path + ".new", self.path)

    def forget(self, names):
        for name in names:
            self.cases.pop(name, None)


def differing(sides, names):
    """The cases whose verdicts differ, as {(name, case): (verdicts)}."""
    found = {}
    for name in names:
        both = [side.cases[name] for side in sides]
        for case in sorted(set(both[0]) | set(both[1])):
            verdicts = tuple(cases.get(case, "none") for cases in both)
            if verdicts[0] != verdicts[1]:
                found[name, case] = verdicts
    return found


def run_both(sides, names):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for done in [pool.submit(side.run, names) for side in sides]:
            done.result()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", metavar="DIRECTORY", default="suites-out")
    parser.add_argument("riscv64")
    parser.add_argument("amd64")
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    os.makedirs(options.o, exist_ok=True)
    sides = [Side("riscv64", options.riscv64, options), Side("amd64", options.amd64, options)]
    names = options.names or sides[0].suite.names(sides[0].root)
    run_both(sides, names)
    first = differing(sides, names)
    again = sorted({name for name, _ in first})
    for side in sides:
        side.forget(again)
    run_both(sides, again)
    second = {key: value for key, value in differing(sides, again).items() if key in first}
    expected = set(words_of("expected.txt"))
    wrong = 0
    for (name, case), verdicts in sorted(second.items()):
        known = any(re.fullmatch(pattern, "%s %s" % (options.suite, case)) for pattern in expected)
        wrong += not known
        print("%s: %s: riscv64 %s, amd64 %s" % ("expected" if known else "DIFFERS", case, *verdicts))
    total = sum(len(sides[0].cases[name]) - 1 for name in names)
    print("%d files, %d cases, %d differ, %d of them as expected"
          % (len(names), total, len(second), len(second) - wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
