#!/usr/bin/env python3
"""A soak test of a whole Debian, not part of `make check`: packages come and go, programs are compiled
and run, files are copied over the network in both directions, while cables are pulled, the balloon
moves and the machine is reset at random moments. Every result must be the one of the first time, a
file that was synced before a reset must be there after it, and memory of the process other than the
guest's must not grow. In the end the disk has to be without errors.

    GUISE_DEBIAN=IMAGE tests/vmm/soak_debian.py GUISE [--minutes N] [--harts N] [--often N]
                                                      [-- more of guise run]

IMAGE is what `guise image build debian` makes; it is not written to. GUISE_SEED repeats the moments."""

import argparse
import collections
import contextlib
import os
import random
import socketserver
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import harness
from debian import Debian
from harness import Control, Failure, Skip, check, run, scratch, seed
from soak import memory_growth, memory_kib

SILENCE = 600  # seconds without a line of a worker
SIZE = 8 << 20
WORKERS = ("package", "compile", "download", "upload", "archive", "ledger")

SCRIPT = r"""#!/bin/bash
# Workers that never end; each line that they print is `soak: WHAT RESULT`.
export DEBIAN_FRONTEND=noninteractive HOME=/root LC_ALL=C
say() { echo "soak: $*"; }
packages() {
    dpkg --configure -a >/dev/null 2>&1
    while :; do
        apt-get clean
        apt-get install --yes hello >/dev/null 2>&1 && say package "$(hello | md5sum | cut -c1-16)"
        apt-get purge --yes hello >/dev/null 2>&1
    done
}
compile() {
    mkdir -p /root/compile && cd /root/compile
    while :; do
        for n in $(seq 40); do
            echo "int f$n(int x) { for (int i = 0; i < x; i++) x = x * $n + (x >> 3) % 77; return x; }"
        done >a.c
        { cat a.c; echo '#include <stdio.h>'; echo 'int main(void) {'
          for n in $(seq 40); do echo "printf(\"%d\\n\", f$n(31));"; done; echo '}'; } >b.c
        gcc -O2 -fwrapv -o b b.c && say compile "$(./b | md5sum | cut -c1-16)"
    done
}
download() {
    while :; do
        got=$(timeout 300 sha256sum </dev/tcp/10.0.2.2/$1)
        [ "$got" ] && say download "${got:0:16}"
        sleep 1
    done
}
# What has arrived is told by the host: the sum of all that the connection brought.
upload() {
    head -c @SIZE@ /dev/zero | tr '\0' 'u' >/root/upload
    while :; do
        timeout 300 bash -c "cat /root/upload >/dev/tcp/10.0.2.2/$1" && say upload ok
        sleep 1
    done
}
archive() {
    while :; do
        say archive "$(tar -C /usr/lib/riscv64-linux-gnu --sort=name -cf - perl-base | gzip -1 | gunzip | md5sum | cut -c1-16)"
    done
}
# Files that are safe once they are told.
ledger() {
    mkdir -p /root/ledger
    n=$(ls /root/ledger | sort -n | tail -1)
    n=${n:-0}
    while :; do
        n=$((n + 1))
        head -c 50000 /dev/urandom >/root/new && sync /root/new
        mv /root/new /root/ledger/$n && sync /root/ledger
        say ledger "$n:$(sha256sum </root/ledger/$n | cut -c1-16)"
        rm -f /root/ledger/$((n - 200))
        sleep 1
    done
}
packages & compile & download $1 & upload $2 & archive & ledger &
wait
""".replace("@SIZE@", str(SIZE))


def give(content):
    class Give(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):  # the machine was reset
                self.request.sendall(content)
    return Give


class Take(socketserver.BaseRequestHandler):
    """Notes connections that came to their end with something else than what is sent."""

    bad = []

    def handle(self):
        got = bytearray()
        try:
            self.request.settimeout(400)
            while data := self.request.recv(65536):
                got += data
        except OSError:
            return
        if got.strip(b"u"):
            self.bad.append(len(got))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Soak:
    def __init__(self, machine, control, options, ports):
        self.machine, self.control, self.ports = machine, control, ports
        self.random = random.Random(seed())
        self.start = time.monotonic()
        self.end = self.start + options.minutes * 60
        self.often = options.often
        self.first = {}
        self.counts = collections.Counter()
        self.memory = []
        self.ledger = {}
        self.link_up = 0  # when the cable is put in again; 0: it is in
        self.next = dict.fromkeys(("link", "balloon", "reset"), 0)
        self.plan()

    def plan(self, *what):
        """When something happens again: 1 to 3 times this many seconds."""
        for name, often in (("link", 40), ("balloon", 30), ("reset", 240)):
            if name in what or not what:
                self.next[name] = (time.monotonic() +
                                   often / self.often * (1 + 2 * self.random.random()))

    def forget_log(self):
        self.machine.log = self.machine.log[self.machine.at:][-100000:]
        self.machine.at = 0

    # ---- what the guest says ----

    def line(self, what, result):
        self.counts[what] += 1
        self.last[what] = time.monotonic()
        if what == "ledger":
            number, digest = result.split(":")
            self.ledger[int(number)] = digest
            return
        expected = self.first.setdefault(what, result)
        check(result == expected, "%s gives %s, the first time %s" % (what, result, expected))

    def listen(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                found = self.machine.expect(rb"soak: (\w+) (\S+)\r*\n", max(until - time.monotonic(), 1))
            except Failure as failure:
                if "within" in str(failure).splitlines()[0] and self.machine.process.poll() is None:
                    break
                raise
            self.line(found.group(1).decode(), found.group(2).decode())
            self.forget_log()
        for what, when in self.last.items():
            check(time.monotonic() - when < SILENCE, "%s is silent" % what)

    # ---- what happens to it ----

    def link(self):
        self.counts["link"] += 1
        if not self.link_up:
            self.control.call("link", net="net0", state="down")
            self.link_up = self.next["link"] = time.monotonic() + self.random.uniform(1, 8)
        else:
            self.control.call("link", net="net0", state="up")
            self.link_up = 0
            self.plan("link")

    def balloon(self):
        self.counts["balloon"] += 1
        self.control.call("balloon", size=self.random.choice((0, 64, 128, 256)) << 20)
        self.plan("balloon")

    def reset(self):
        self.counts["reset"] += 1
        self.control.call("reset")
        self.forget_log()
        if self.link_up:
            self.link()
        self.machine.root()
        self.look_for_files()
        self.start_workers()
        self.plan()

    def look_for_files(self):
        """What was synced before a reset is there."""
        newest = sorted(self.ledger)[-100:]
        self.ledger = {number: self.ledger[number] for number in newest}
        said = self.machine.shell("for n in %s; do sha256sum </root/ledger/$n | cut -c1-16; done"
                                  % " ".join(map(str, newest)), 200).split()
        check(said == list(self.ledger.values()), "of the files %r some are others: %r"
              % (newest, said))

    def start_workers(self):
        self.last = dict.fromkeys(WORKERS, time.monotonic())
        self.machine.shell("dmesg -n 1; (setsid /root/soak.sh %d %d >/dev/ttyS0 2>/dev/null &)"
                           % tuple(self.ports))

    def run(self):
        while time.monotonic() < self.end:
            self.listen(2)
            for name in self.next:
                if time.monotonic() >= self.next[name]:
                    getattr(self, name)()
            self.memory.append((time.monotonic(), memory_kib(self.machine.process.pid)))
            check(not Take.bad, "the host got other bytes: %r" % Take.bad)
        check(all(self.counts[worker] for worker in WORKERS), "not all have worked: %r" % self.counts)
        memory_growth(self.memory)


def prepare(machine, port):
    machine.root()
    for command in ("dpkg --configure -a; apt-get update", "apt-get install --yes gcc libc6-dev"):
        code, output = machine.shell_code(command + " 2>&1", 1800)
        if code:
            raise Skip("no Debian archive to be reached from here: " + output.strip()[-300:])
    machine.shell("cat </dev/tcp/10.0.2.2/%d >/root/soak.sh && chmod +x /root/soak.sh" % port)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guise")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--harts", type=int, default=2)
    parser.add_argument("--often", type=float, default=1, help="this many times more disturbances")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    harness.guise = os.path.abspath(options.guise)
    script = Server(give(SCRIPT.encode()))
    servers = [Server(give(random.Random(1).randbytes(SIZE))), Server(Take)]
    with scratch() as place:
        harness.cache = place + "/cache"
        try:
            with Debian(place, "--cpus", str(options.harts), "--net", "user,host", "--control", place + "/control",
                        *words[end + 1:]) as machine:
                prepare(machine, script.port)
                soak = Soak(machine, Control(place + "/control"), options,
                            [server.port for server in servers])
                soak.start_workers()
                try:
                    soak.run()
                except Failure as failure:
                    sys.exit("FAILED after %.0f s: %s\n%s" % (time.monotonic() - soak.start, failure,
                                                             harness.text(machine.log)))
                machine.send(b"\x01x")
                machine.end(0)
        except Skip as reason:
            print("skip: %s" % reason)
            sys.exit(77)
        code, out, err = run(["disk", "check", place + "/overlay.qcow2"], 600)
        check(code == 0, "the disk has errors", out + err)
    print(", ".join("%s %d" % item for item in sorted(soak.counts.items())))
    print("ok: %.0f s" % (options.minutes * 60))


if __name__ == "__main__":
    main()
