#!/usr/bin/env python3
"""Debian's kernel finds its disk behind PCI Express, with a PLIC and with the advanced interrupt
architecture, by pins and by messages, with guise as firmware and with OpenSBI; what it shows in /sys
and /proc says which. Deterministic runs are saved and continued as without PCI; GUISE_LONG=1 does that
with pins, too."""

import hashlib
import os
import platform
import re
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Machine, check, guest, linux, run, scratch

MB = 1 << 20
LONG = bool(os.environ.get("GUISE_LONG"))
PINS = ["--bus", "pci"]
MESSAGES = ["--bus", "pci", "--irqchip", "aia"]


class Guest(Machine):
    """A booted machine with a disk of random bytes."""

    def __init__(self, directory, *args, seconds=180):
        self.disk = directory + "/disk"
        self.content = os.urandom(4 * MB)
        with open(self.disk, "wb") as file:
            file.write(self.content)
        super().__init__(["run", *linux("console=ttyS0 quiet"), "--disk", self.disk, *args],
                         seconds=seconds)

    def interrupts(self):
        """(controller, name, counts per hart) of each line of /proc/interrupts with a number."""
        lines = []
        for line in self.shell("cat /proc/interrupts").splitlines():
            words = line.split()
            if words and re.match(r"\d+:", words[0]):
                counts = [int(word) for word in words[1:] if word.isdigit()]
                lines.append((" ".join(words), words[-1], counts))
        return lines

    def count(self, name):
        """How often an interrupt with this name has come."""
        return sum(sum(counts[:self.harts()]) for _, last, counts in self.interrupts()
                   if last == name)

    def harts(self):
        return int(self.shell("nproc"))

    def check_disk(self):
        """Reads all of it, writes some, and compares with the file."""
        got = self.shell("echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/vda | cut -c1-32").strip()
        check(got == hashlib.md5(self.content).hexdigest(), "the disk reads as %s" % got)
        self.shell("dd if=/dev/vda of=/dev/vda bs=4k count=64 seek=512 conv=notrunc,fsync")
        part = slice(512 * 4096, 576 * 4096)
        with open(self.disk, "rb") as file:
            now = file.read()
        check(now[part] == self.content[:64 * 4096], "what was written is not in the file")
        self.content = now

    def functions(self):
        """Number, ids and driver of each function, as lspci would show."""
        return self.shell(
            "for d in /sys/bus/pci/devices/*; do echo ${d##*/} $(cat $d/vendor $d/device $d/class) "
            "$(basename $(readlink $d/driver || echo none)); done")

    def off(self):
        self.send(b"poweroff -f\n")
        self.end(0)


FUNCTIONS = """\
0000:00:00.0 0x1b36 0x0008 0x060000 none
0000:00:01.0 0x1af4 0x1042 0x010000 virtio-pci
0000:00:02.0 0x1af4 0x1044 0x00ff00 virtio-pci
0000:00:03.0 0x1af4 0x1045 0x00ff00 virtio-pci
"""


def pins(*args):
    with scratch() as directory, Guest(directory, *PINS, *args) as m:
        m.login()
        check(m.functions() == FUNCTIONS, m.functions())
        before = m.count("virtio0")
        m.check_disk()
        check(m.count("virtio0") > before, "no interrupt of the disk")
        lines = m.interrupts()
        disk = [line for line, name, _ in lines if name == "virtio0"]
        check(len(disk) == 1 and "PLIC 33" in disk[0], "%r" % lines)
        check("MSI" not in m.shell("cat /proc/interrupts"), "messages without a receiver")
        m.shell("dd if=/dev/hwrng of=/dev/null bs=64 count=1")
        check(m.count("virtio1") > 0, "no interrupt of the entropy source")
        m.off()


def test_pins():
    pins()


def test_pins_four_harts():
    pins("--cpus", "4")


def vectors(m):
    """The names of a function's vectors, by its number."""
    found = {}
    for line, name, _ in m.interrupts():
        match = re.search(r"PCI-MSIX-(0000:00:0\d\.0) (\d+)", line)
        if match:
            found.setdefault(match.group(1), {})[int(match.group(2))] = name
    return found


def messages(harts, *args, seconds=180):
    with scratch() as directory:
        with Guest(directory, *MESSAGES, "--cpus", str(harts), *args, seconds=seconds) as m:
            if "--firmware" in args:
                m.expect(rb"Platform IPI Device +: aia-imsic")
            m.login()
            check(m.functions() == FUNCTIONS, m.functions())
            queues = ["virtio0-req.%d" % n for n in range(harts)] # one for each
            check(vectors(m) == {"0000:00:01.0": dict(enumerate(["virtio0-config"] + queues)),
                                 "0000:00:02.0": {0: "virtio1-config", 1: "virtio1-input"}},
                  m.shell("cat /proc/interrupts"))
            before = sum(map(m.count, queues))
            m.check_disk()
            check(sum(map(m.count, queues)) > before, "no message of the disk")
            check(m.shell("ls /sys/bus/pci/devices/0000:00:01.0/msi_irqs | wc -l") ==
                  "%d\n" % (1 + harts), "vectors")
            isa = m.shell("grep -m1 ^isa /proc/cpuinfo")
            check("ssaia" in isa and "smaia" not in isa or "--firmware" in args, isa)
            serial = [line for line, name, _ in m.interrupts() if name == "ttyS0"]
            check(len(serial) == 1 and "APLIC-MSI" in serial[0], "%r" % serial)
            check("imsic" in m.shell("dmesg | grep 'providing IPIs'"), "IPIs")
            if harts > 1:
                move_vector(m, harts)
            m.off()


def move_vector(m, harts):
    """Messages go to whichever hart they are sent to. The disk's are the kernel's to place."""
    name = "virtio1-input"
    number = m.shell("grep %s /proc/interrupts | cut -d: -f1" % name).strip()

    def counts():
        return [line[2] for line in m.interrupts() if line[1] == name][0]

    for hart in range(harts):
        m.shell("echo %x > /proc/irq/%s/smp_affinity" % (1 << hart, number))
        before = counts()[hart]
        # The move itself happens with the next interrupt.
        m.shell("dd if=/dev/hwrng of=/dev/null bs=512 count=8")
        check(counts()[hart] > before, "hart %d got no message: %r" % (hart, counts()))


def test_messages():
    messages(1)


def test_messages_four_harts():
    messages(4)


def test_messages_with_firmware():
    messages(2, "--firmware", guest("firmware") + "/fw_dynamic.bin")


def test_aia_without_pci():
    with scratch() as directory, Guest(directory, "--irqchip", "aia", "--cpus", "2") as m:
        m.login()
        m.check_disk()
        disk = [line for line, name, _ in m.interrupts() if name == "virtio0"]
        check(len(disk) == 1 and "APLIC-MSI" in disk[0], "%r" % m.interrupts())
        check(m.count("virtio0") > 0, "no interrupt of the disk")
        m.off()


def test_function_comes_back():
    """Taken off the bus and found again, at places that the kernel chooses anew; and reset."""
    with scratch() as directory, Guest(directory, *MESSAGES) as m:
        m.login()
        device = "/sys/bus/pci/devices/0000:00:01.0"
        for _ in range(2):
            m.shell("echo 1 > %s/remove; ! test -e /dev/vda" % device)
            m.shell("echo 1 > /sys/bus/pci/rescan; sleep 1; test -e /dev/vda")
            m.check_disk()
        check("flr" in m.shell("cat %s/reset_method" % device), "reset methods")
        m.shell("echo 0000:00:01.0 > %s/driver/unbind; ! test -e /dev/vda" % device)
        m.shell("echo 1 > %s/reset" % device)
        m.shell("echo 0000:00:01.0 > /sys/bus/pci/drivers/virtio-pci/bind; sleep 1")
        m.check_disk()
        m.off()


def test_u_boot():
    """Another that places base addresses: the 64-bit one where 32 bits reach."""
    with scratch() as directory:
        content = os.urandom(MB)
        with open(directory + "/disk", "wb") as file:
            file.write(content)
        with Machine(["run", *PINS, "--firmware", guest("firmware") + "/u-boot.bin", "--disk",
                      directory + "/disk"], seconds=120) as m:
            m.expect(rb"Hit any key to stop autoboot")
            for command, answer in ((b"", b""), (b"pci enum", b""),
                                    (b"pci", rb"00\.01\.00 +0x1af4 +0x1042"),
                                    (b"pci bar 0.1.0", rb"4 +0x000000004\w{7} +0x0{12}4000 +64"),
                                    (b"virtio scan", b""), (b"virtio info", b"VirtIO Block Device"),
                                    (b"virtio read 0x84000000 0 8", b"8 blocks read: OK"),
                                    (b"crc32 0x84000000 0x1000",
                                     b"==> %08x" % zlib.crc32(content[:4096]))):
                m.send(command + b"\n")
                m.expect(answer)
                m.expect(rb"=> $")


# ---- saved state and lockstep -----------------------------------------------------------------


def part(directory, options, until, *args):
    """Console bytes and state hash of a deterministic run."""
    console = directory + "/console"
    code, out, err = run(["run", "--deterministic", "--stats", "--run-for", str(until * 1000000),
                          "--console", "file:" + console, *linux("console=ttyS0"), "--disk",
                          directory + "/disk,readonly", *options, *args], seconds=240)
    state = re.search(rb"state hash +([0-9a-f]{16})", err)
    check(code == 0 and state and not out, "exit code %d" % code, out + err)
    with open(console, "rb") as file:
        return file.read(), state.group(1)


def test_saved_and_continued():
    for options in [MESSAGES + ["--cpus", "2"]] + LONG * [PINS]:
        with scratch(big=True) as directory:
            with open(directory + "/disk", "wb") as file:
                file.truncate(MB)
            whole, state = part(directory, options, 2400)
            check(b"virtio_blk virtio0" in whole, "the disk was not found in time", whole)
            first, _ = part(directory, options, 1700, "--save", directory + "/1")
            second, _ = part(directory, options, 2200, "--load", directory + "/1", "--save",
                             directory + "/2")
            third, continued = part(directory, options, 2400, "--load", directory + "/2")
            check(first + second + third == whole, "the console differs", first + second + third)
            check(continued == state, "%s, unbroken it is %s" % (continued, state))
            code, _, err = run(["run", "--deterministic", *linux(), "--load", directory + "/2",
                                "--disk", directory + "/disk,readonly"])
            check(code and b"of another machine" in err, "another board loaded it", err)


def test_engines_agree():
    """Messages and pins arrive at the same instruction, whatever runs the guest."""
    if harness.engine != "dbt" or platform.machine() != "x86_64":
        raise harness.Skip("a lockstep of two engines is run once")
    with scratch() as directory:
        with open(directory + "/disk", "wb") as file:
            file.truncate(MB)
        for options in [MESSAGES] + LONG * [PINS]:
            code, out, err = run(["run", "--lockstep", "interp,dbt", "--run-for", "2400000000",
                                  *linux("console=ttyS0"), "--disk", directory + "/disk,readonly",
                                  *options], seconds=600)
            check(code == 0 and b"virtio_blk virtio0" in out, "exit code %d" % code, out + err)


if __name__ == "__main__":
    harness.main(globals())
