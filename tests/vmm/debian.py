#!/usr/bin/env python3
"""A whole Debian from its disk, as `guise image build debian` makes it: to its login prompt with 1, 2
and 4 harts, off and on again from inside, ssh through a forwarded port, a package from the network.

    GUISE_DEBIAN=IMAGE tests/vmm/debian.py GUISE [test_NAME...]

The image is not written to: every machine has an overlay. Root must be able to log in without a
password, which is so when none was given to `image build`. Making the image needs Debian's archive
and some minutes, so without one this is skipped."""

import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import FACTOR, Machine, Skip, check, main, run, scratch, text, tool

PROMPT = rb"debian:~# "
BOOT = 300


class Debian(Machine):
    """The image in a machine with U-Boot, as `guise run IMAGE` starts it."""

    def __init__(self, directory, *more):
        image = os.environ.get("GUISE_DEBIAN", "")
        if not image:
            raise Skip("no image: make one by 'guise image build debian -o FILE' and set "
                       "GUISE_DEBIAN to it")
        overlay = directory + "/overlay.qcow2"
        kind = "qcow2" if image.endswith(".qcow2") else "raw"
        code, _, err = run(["disk", "create", "--backing", os.path.abspath(image),
                            "--backing-format", kind, overlay])
        check(not code, "no overlay can be made", err)
        super().__init__(["run", overlay, *more], seconds=BOOT)

    def root(self):
        """Waits for the prompt and logs in."""
        self.expect(rb"debian login: ")
        self.send(b"root\n")
        self.expect(PROMPT)
        # Lines that are echoed as they are, and no marks around the prompt.
        self.send(b"stty cols 1000; bind 'set enable-bracketed-paste off'; PS1='# '\n")
        self.expect(rb"[\r\n]# ")


def boots(harts):
    with scratch() as place, Debian(place, "--cpus", str(harts)) as machine:
        machine.root()
        check(machine.shell("nproc").strip() == str(harts), "another number of harts", machine.log)
        failed = machine.shell("systemctl --no-pager --failed --no-legend --plain")
        check(not failed.strip(), "units failed: " + failed)
        machine.shell("findmnt -n /boot/efi")
        machine.send(b"poweroff\n")
        machine.end(0)


def test_one_hart():
    boots(1)


def test_two_harts():
    boots(2)


def test_four_harts():
    boots(4)


def test_reboot():
    """Comes up again, with a kernel that has started anew, and what was written is there."""
    with scratch() as place, Debian(place) as machine:
        machine.root()
        first = machine.shell("cat /proc/sys/kernel/random/boot_id | tee /root/boot_id")
        for _ in range(2):
            machine.send(b"reboot\n")
            machine.root()
        check(machine.shell("cat /root/boot_id") == first, "the file system has lost a file")
        again = machine.shell("cat /proc/sys/kernel/random/boot_id")
        check(again != first, "the kernel was not started again")
        machine.send(b"poweroff\n")
        machine.end(0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ssh(port, key, command):
    """Output of a command; sshd starts after the prompt is there."""
    words = ["ssh", "-p", str(port), "-i", key, "-o", "StrictHostKeyChecking=no", "-o",
             "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
             "root@127.0.0.1", command]
    end = time.monotonic() + 180 * FACTOR
    while True:
        done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, timeout=120 * FACTOR,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if not done.returncode:
            return text(done.stdout)
        check(done.returncode == 255 and time.monotonic() < end, "ssh: " + text(done.stderr))
        time.sleep(1)


def test_ssh():
    tool("ssh")
    with scratch() as place:
        subprocess.run([tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", place + "/key"],
                       check=True)
        with open(place + "/key.pub", encoding="ascii") as file:
            public = file.read().strip()
        port = free_port()
        with Debian(place, "--net", "user,hostfwd=tcp:127.0.0.1:%d-:22" % port) as machine:
            machine.root()
            machine.shell("mkdir -p -m 700 .ssh && echo '%s' >.ssh/authorized_keys" % public)
            check(ssh(port, place + "/key", "uname -m") == "riscv64\n", "another answer by ssh")
            # As much as must not get lost, both ways.
            sent = ssh(port, place + "/key", "head -c 3000000 /dev/zero | sha256sum")
            check(sent.startswith("35bce4ea"), "another sum: " + sent)
            machine.send(b"poweroff\n")
            machine.end(0)


def test_apt():
    with scratch() as place, Debian(place) as machine:
        machine.root()
        code, output = machine.shell_code("apt-get update", 600)
        if code:
            raise Skip("no Debian archive to be reached from here: " + output.strip()[-300:])
        machine.shell("apt-get install --yes hello", 600)
        check("Hello, world!" in machine.shell("hello"), "the package does not run", machine.log)
        machine.send(b"poweroff\n")
        machine.end(0)


if __name__ == "__main__":
    main(globals())
