#!/usr/bin/env python3
"""Debian's kernel with busybox boots to a shell, sees its processors and disks, and switches off."""

import hashlib
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Machine, check, linux, run, scratch, text, wait_until


def boot(*args, append="console=ttyS0", whole=False, seconds=60):
    return Machine(["run", *linux(append, whole=whole), *args], seconds=seconds)


def test_shell():
    with boot(whole=True) as m:
        m.expect(rb"Linux version 6\.")
        m.expect(rb"SBI specification v2\.0 detected")
        m.expect(rb"guise: init")
        m.login()
        uname = m.shell("uname -a")
        check(re.match(r"Linux guise 6\.\S+ .*riscv64", uname), "uname: %r" % uname)
        info = m.shell("cat /proc/cpuinfo")
        check(re.search(r"processor\s*: 0\n", info) and "processor\t: 1" not in info, info)
        check(re.search(r"isa\s*: rv64imafdc_\S*zba_zbb_zbc_zbs_sstc", info), info)
        check(re.search(r"mmu\s*: sv39\n", info), info)
        check(m.shell("nproc") == "1\n", "nproc")
        check(m.shell("date +%Y") >= "2024\n", "the clock")
        m.send(b"poweroff\n")
        m.expect(rb"reboot: Power down")
        m.end(0)


def test_reboot():
    with boot(append="console=ttyS0 quiet") as m:
        m.login()
        m.shell("echo kept > /file")
        m.send(b"reboot -f\n")
        m.expect(rb"guise: init")
        m.login()
        check("file" not in m.shell("ls /"), "a file in memory outlived the reboot")
        m.send(b"poweroff -f\n")
        m.end(0)


def user_times(m):
    """Ticks of user time per processor."""
    stat = m.shell("grep ^cpu[0-9] /proc/stat")
    return [int(line.split()[1]) for line in stat.splitlines()]


def silence(m):
    """Keeps what a starved kernel's watchdogs say out of the output of shell commands."""
    m.shell("echo 0 > /proc/sys/kernel/printk")


def test_four_harts():
    with boot("--cpus", "4", seconds=120) as m:
        m.expect(rb"smp: Brought up 1 node, 4 CPUs")
        m.login()
        silence(m)
        check(m.shell("nproc") == "4\n", "nproc")
        check(m.shell("grep -c ^processor /proc/cpuinfo") == "4\n", "harts in /proc/cpuinfo")
        before = user_times(m)
        check(len(before) == 4, "/proc/stat: %r" % before)
        m.shell("for i in 0 1 2 3 4 5 6 7; do (while :; do :; done) & done")

        def all_busy():
            m.shell("sleep 1")
            return all(b - a > 20 for a, b in zip(before, user_times(m)))

        wait_until(all_busy, "not all processors are busy", 60)
        m.send(b"poweroff -f\n")
        m.end(0)


def test_many_harts():
    # 64 threads on two busy host cores take Linux's watchdog for a ride: the full number on request.
    harts = "64" if os.environ.get("GUISE_LONG") else "16"
    with boot("--cpus", harts, seconds=300) as m:
        m.expect(rb"smp: Brought up 1 node, %s CPUs" % harts.encode())
        m.login()
        silence(m)
        nproc = m.shell("nproc")
        check(nproc == harts + "\n", "nproc: %r" % nproc)
        m.send(b"poweroff -f\n")
        m.end(0)


def test_disk():
    with scratch() as directory:
        disk, fixed = directory + "/disk", directory + "/fixed"
        content = bytearray(os.urandom(4 << 20))
        for path in (disk, fixed):
            with open(path, "wb") as file:
                file.write(content)
        with boot("--disk", disk, "--disk", fixed + ",readonly",
                  append="console=ttyS0 quiet") as m:
            m.login()
            check(m.shell("cat /sys/block/vda/size") == "8192\n", "sectors")
            sums = m.shell("md5sum /dev/vda /dev/vdb | cut -c1-32").split()
            check(len(sums) == 2 and sums[0] == sums[1], "%r" % sums)
            # 300 sectors at sector 1000, and one byte.
            m.shell("dd if=/dev/urandom of=/data bs=512 count=300")
            m.shell("dd if=/data of=/dev/vda bs=512 seek=1000 conv=notrunc,fsync")
            m.shell("printf X | dd of=/dev/vda bs=1 seek=12345 conv=notrunc; sync")
            written = m.shell("md5sum </data | cut -c1-32").strip()
            # The page cache is dropped, so that what is read comes from the device.
            m.shell("echo 3 > /proc/sys/vm/drop_caches")
            again = m.shell("dd if=/dev/vda bs=512 skip=1000 count=300 2>/dev/null | md5sum | "
                            "cut -c1-32").strip()
            check(again == written, "read %s after writing %s" % (again, written))
            code, output = m.shell_code("echo no > /dev/vdb")
            check(code != 0, "a read-only disk was written: %r" % output)
            check(m.shell("cat /sys/block/vdb/ro") == "1\n", "ro")
            whole = m.shell("md5sum </dev/vda | cut -c1-32").strip()
            m.send(b"poweroff\n")
            m.end(0)
        with open(disk, "rb") as file:
            now = file.read()
        check(hashlib.md5(now[512000:512000 + 153600]).hexdigest() == written, "sectors 1000-1299")
        check(hashlib.md5(now).hexdigest() == whole, "the whole disk")
        content[12345:12346] = b"X"
        content[512000:512000 + 153600] = now[512000:512000 + 153600]
        check(now == bytes(content), "the disk was changed where nobody wrote")
        with open(fixed, "rb") as file:
            check(hashlib.md5(file.read()).hexdigest() == sums[1], "the read-only disk's file")


def test_qcow2_disk():
    """An overlay is written and its machine killed; a raw disk does not become an image."""
    with scratch() as directory:
        base, top, raw = (directory + "/" + name for name in ("base", "top.qcow2", "raw"))
        content = os.urandom(2 << 20)
        for path in (base, raw):
            with open(path, "wb") as file:
                file.write(content)
        code, _, err = run(["disk", "create", "--backing", "base", "--backing-format", "raw", top,
                            "4M"])
        check(code == 0, "disk create", err)
        with boot("--disk", top, "--disk", raw, append="console=ttyS0 quiet") as m:
            m.login()
            check(m.shell("cat /sys/block/vda/size") == "8192\n", "sectors")
            base_sum = m.shell("dd if=/dev/vda bs=1M count=2 2>/dev/null | md5sum | cut -c1-32")
            check(base_sum.strip() == hashlib.md5(content).hexdigest(), "the backing disk's contents")
            m.shell("dd if=/dev/urandom of=/data bs=512 count=300")
            m.shell("dd if=/data of=/dev/vda bs=512 seek=3999 conv=notrunc,fsync")
            written = m.shell("md5sum </data | cut -c1-32").strip()
            magic = "printf 'QFI\\373' | dd of=/dev/vdb bs=4 conv=notrunc,fsync"
            code, output = m.shell_code(magic)
            check(code != 0, "a raw disk became an image: %r" % output)
            m.process.kill()
        flat = directory + "/flat"
        code, _, err = run(["disk", "convert", top, flat])
        check(code == 0, "disk convert", err)
        with open(flat, "rb") as file:
            now = file.read()
        check(hashlib.md5(now[3999 * 512:4299 * 512]).hexdigest() == written, "what was flushed")
        check(now[:3999 * 512] == content[:3999 * 512], "what nobody wrote")
        code, out, err = run(["disk", "check", top])
        check(code in (0, 3), "disk check: %d" % code, out + err)
        for path in (base, raw):
            with open(path, "rb") as file:
                check(file.read() == content, "%s has changed" % path)


def test_console_file():
    with scratch() as directory:
        path = directory + "/console"
        code, out, err = run(["run", *linux("console=ttyS0 panic=-1 rdinit=/nowhere"),
                              "--console", "file:" + path, "--deterministic", "--run-for",
                              "800000000"])
        with open(path, "rb") as file:
            printed = file.read()
        check(code == 0 and not out and not err, "exit code %d" % code, out + err + printed)
        check(b"Linux version" in printed, "the file has no console", printed)


def test_console_none():
    code, out, err = run(["run", *linux(), "--console", "none", "--deterministic", "--run-for",
                          "800000000"])
    check(code == 0 and not out and not err, "exit code %d" % code, out + err)


def test_console_pty():
    with Machine(["run", *linux("console=ttyS0 quiet"), "--console", "pty"]) as m:
        path = m.expect(rb"guise: the console is at (/dev/pts/\d+)").group(1)
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            other = harness.Terminal(fd, m.process, m.command)
            other.login()
            check(other.shell("uname -m") == "riscv64\n", "uname")
            other.send(b"poweroff -f\n")
            m.end(0)
        finally:
            os.close(fd)


def mmu(mode):
    with boot("--mmu", mode, append="console=ttyS0 quiet") as m:
        m.login()
        info = m.shell("grep mmu /proc/cpuinfo")
        check(re.match(r"mmu\s*: %s\n$" % mode, info), "%s: %r" % (mode, info))
        m.send(b"poweroff -f\n")
        m.end(0)


def test_sv48():
    mmu("sv48")


def test_sv57():
    mmu("sv57")


def test_failure_code():
    """What a guest writes to the test device becomes the exit code."""
    with boot(append="console=ttyS0 quiet iomem=relaxed") as m:
        m.login()
        m.send(b"devmem 0x100000 32 0x002b3333\n")
        m.end(43)


def test_resident_memory():
    """A booted guest of 256 MiB keeps guise within 100 MiB; what it clears is given back."""
    # Meson has malloc fill what it gives, so that all of a large array is resident.
    os.environ.pop("MALLOC_PERTURB_", None)
    with boot("--stats", *harness.inspectable(), whole=True) as m:
        m.login()
        m.shell("sleep 1")
        # Pss: what is mapped twice by the process counts once.
        with open("/proc/%d/smaps_rollup" % m.process.pid, encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in list(file)[1:])
        resident = int(fields["Pss"].split()[0]) / 1024
        print("resident: %.0f MiB" % resident)
        sanitized = harness.FACTOR > 1
        check(sanitized or resident <= 100, "%.0f MiB are resident" % resident)
        m.send(b"poweroff -f\n")
        given = m.expect(rb"(\d+) KiB of zeros given back").group(1)
        m.end(0)
        # Linux clears 32 MiB of bounce buffers, and uses none.
        check(int(given) >= 32 << 10, "%s KiB given back" % text(given))


if __name__ == "__main__":
    harness.main(globals())
