#!/usr/bin/env python3
"""Memory that Debian's kernel gives back: what it frees, and what it is asked for."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Machine, check, guest, linux, need_speed, scratch

MIB = 1 << 20
FILE_MIB = 256
SECONDS = 60  # within which memory goes back; Linux looks for free pages every two


def boot(directory, *args):
    initrd = guest("initramfs", "--modules", "virtio_mmio,virtio_pci,virtio_balloon", "-o",
                   directory + "/initramfs")
    return Machine(["run", *linux("console=ttyS0 quiet", initrd), "--memory", "512M",
                    *harness.inspectable(), *args],
                   seconds=120)


def guest_memory_mib(m):
    """What the guest's memory costs the host: the memfd's pages that are there."""
    directory = "/proc/%d/fd/" % m.process.pid
    for fd in os.listdir(directory):
        if os.readlink(directory + fd).startswith("/memfd:guise-ram"):
            status = os.stat(directory + fd)
            if status.st_size == 512 * MIB:
                return status.st_blocks * 512 / MIB
    raise harness.Failure("no memory of 512 MiB")


def until(m, condition, what):
    end = time.monotonic() + SECONDS * harness.FACTOR
    while not condition(guest_memory_mib(m)):
        check(time.monotonic() < end, "%s: %.0f MiB" % (what, guest_memory_mib(m)))
        time.sleep(0.2)


def free_kib(m):
    return int(re.search(r"MemFree: *(\d+)", m.shell("cat /proc/meminfo")).group(1))


def large_free_mib(m):
    """Free memory in blocks of 2 MiB and more: those are what Linux reports."""
    blocks = [line.split()[4:] for line in m.shell("cat /proc/buddyinfo").splitlines()]
    return sum(int(n) * (1 << order) for zone in blocks for order, n in enumerate(zone)
               if order >= 9) / 256


def fill(m):
    m.shell("mkdir -p /t && mount -t tmpfs -o size=90% none /t")
    m.shell("dd if=/dev/urandom of=/t/a bs=1M count=8 2>/dev/null")
    m.shell("i=0; while [ $i -lt %d ]; do cat /t/a; i=$((i + 8)); done >/t/b" % FILE_MIB)


def goes_back(*args):
    with scratch() as directory, boot(directory, "--stats", *args) as m:
        m.login()
        fill(m)
        full = guest_memory_mib(m)
        check(full > FILE_MIB, "%.0f MiB are resident" % full)
        # What is free in small pieces stays with the guest: gathered, little is.
        m.shell("rm /t/b; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory")
        free = large_free_mib(m)
        check(free > FILE_MIB * 0.9, "%.0f MiB are free in large pieces" % free)
        until(m, lambda now: now < 512 - large_free_mib(m) + 8,
              "of %.0f MiB that are free in large pieces some did not go back" % free)
        # What came back is memory as any other.
        m.shell("i=0; while [ $i -lt 32 ]; do cat /t/a; i=$((i + 8)); done >/t/b")
        m.shell("dd if=/t/b bs=8M skip=3 2>/dev/null | cmp - /t/a")
        m.send(b"poweroff -f\n")
        given = m.expect(rb"(\d+) KiB by the guest").group(1)
        m.end(0)
        gone = full - 512 + free
        check(int(given) > (gone - 8) * 1024, "%s of %.0f KiB by the guest" %
              (harness.text(given), gone * 1024))


def test_free_memory_goes_back():
    goes_back()


def test_over_pci():
    need_speed()
    goes_back("--bus", "pci", "--irqchip", "aia")


def test_target():
    """The guest does without what is asked for, and takes it when it would fail otherwise."""
    with scratch() as directory:
        with boot(directory, "--balloon", "off") as m:
            m.login()
            without = free_kib(m)
            m.shell("! ls /sys/bus/virtio/drivers/virtio_balloon/virtio*")
            m.send(b"poweroff -f\n")
            m.end(0)
        with boot(directory, "--balloon", "256M") as m:
            m.login()
            end = time.monotonic() + SECONDS * harness.FACTOR
            while free_kib(m) > without - 240 * 1024:
                check(time.monotonic() < end, "%d of %d KiB are free" % (free_kib(m), without))
                time.sleep(0.2)
            fill(m)
            m.send(b"poweroff -f\n")
            m.end(0)


if __name__ == "__main__":
    harness.main(globals())
