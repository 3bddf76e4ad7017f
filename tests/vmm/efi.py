#!/usr/bin/env python3
"""Debian's EDK2 and U-Boot find a disk with an EFI system partition, start GRUB from it, and GRUB
starts Debian's kernel: with guise's own SBI and with OpenSBI, over MMIO and over PCI. What the kernel
writes into EDK2's variables is there after a reboot and in the next machine."""

import os
import re
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Failure, Machine, check, guest, need_speed, run, scratch, text, tool

MB = 1 << 20
GUID = "12345678-1234-1234-1234-123456789abc"
GRUB = """\
echo guise: GRUB
linux /vmlinuz console=ttyS0 quiet %s
initrd /initrd
boot
""" % harness.QUICK


def do(program, *args, stdin=b"", **more):
    code, _, err = run(args, program=tool(program), stdin=stdin, **more)
    if code:
        raise Failure("%s: %s" % (program, text(err)))


def make_disk(path):
    """A disk with a partition table, GRUB, a kernel and an initramfs; made without privileges."""
    efi = guest("efi")
    with open(path, "wb") as file:
        file.truncate(128 * MB)
    do("sfdisk", "--quiet", path, stdin=b"label: gpt\nstart=2048, type=U\n")
    fat = path + "@@1M"
    # mtools asks for the drive's geometry where a file has none.
    size = str((126 * MB) // 512)
    do("mformat", "-i", fat, "-F", "-T", size, "-h", "64", "-s", "32", "-v", "ESP", "::")
    with scratch() as directory:
        with open(directory + "/grub.cfg", "w", encoding="ascii") as file:
            file.write(GRUB)
        for folder in ("EFI", "EFI/BOOT", "EFI/debian"):
            do("mmd", "-i", fat, "::" + folder)
        initrd = guest("initramfs", "--modules", "virtio_mmio,virtio_blk,efivarfs")
        for source, name in ((efi + "/grubriscv64.efi", "EFI/BOOT/BOOTRISCV64.EFI"),
                             (directory + "/grub.cfg", "EFI/debian/grub.cfg"),
                             (guest("kernel"), "vmlinuz"), (initrd, "initrd")):
            do("mcopy", "-i", fat, source, "::" + name)


class Place:
    """A directory with the disk, a file of variables, and options that use them."""

    def __init__(self, directory):
        self.code = guest("efi") + "/RISCV_VIRT_CODE.fd"
        self.vars = directory + "/vars"
        self.disk = directory + "/disk"
        shutil.copyfile(guest("efi") + "/RISCV_VIRT_VARS.fd", self.vars)
        make_disk(self.disk)

    def edk2(self, *more):
        return Machine(["run", "--memory", "512M", "--pflash", self.code + ",readonly", "--pflash",
                        self.vars, "--disk", self.disk + ",readonly", *more], seconds=300)


    def uefi(self, *more):
        """The same by one option."""
        os.environ["GUISE_FIRMWARE"] = guest("efi")
        return Machine(["run", "--memory", "512M", "--uefi", self.vars, "--disk",
                        self.disk + ",readonly", *more], seconds=300)


def expect_edk2(m):
    m.expect(rb"RISC-V EDK2 firmware version 20\d\d\.\d\d")


def expect_linux(m):
    """GRUB, then the kernel, which knows the firmware that started it and has the disk."""
    m.expect(rb"guise: GRUB")
    m.expect(rb"guise: init")
    m.login()
    size = m.shell("cat /sys/class/block/vda1/size").strip()
    check(int(size) > 100 * MB // 512, "the partition has %s sectors" % size)
    return re.search(r"EFI v[\d.]+ by (.*)", m.shell("dmesg")).group(1)


def off(m):
    m.send(b"poweroff -f\n")
    m.end(0)


def test_edk2_mmio():
    with scratch(big=True) as directory:
        with Place(directory).edk2("--cpus", "2") as m:
            expect_edk2(m)
            check("EDK II" in expect_linux(m), "not EDK2's")
            off(m)


def test_edk2_pci_opensbi():
    need_speed()
    with scratch(big=True) as directory:
        opensbi = guest("firmware") + "/fw_dynamic.bin"
        with Place(directory).edk2("--bus", "pci", "--irqchip", "aia", "--firmware", opensbi) as m:
            m.expect(rb"Domain0 Next Address\s+: 0x0*20000000")
            expect_edk2(m)
            check("EDK II" in expect_linux(m), "not EDK2's")
            off(m)


NAME = "/sys/firmware/efi/efivars/GuiseTest-" + GUID


def check_variable(m):
    m.shell("mount -t efivarfs efivarfs /sys/firmware/efi/efivars")
    # Four bytes of attributes come first.
    got = m.shell("tail -c +5 %s; echo" % NAME).strip()
    check(got == "kept", "the variable is %r" % got)


def test_variables():
    need_speed()
    with scratch(big=True) as directory:
        place = Place(directory)
        os.unlink(place.vars)
        before = open(place.code, "rb").read()
        with place.uefi("--bus", "pci") as m:
            expect_linux(m)
            m.shell("mount -t efivarfs efivarfs /sys/firmware/efi/efivars")
            m.shell("printf '\\7\\0\\0\\0kept' > " + NAME)
            m.send(b"reboot -f\n")
            expect_edk2(m)
            expect_linux(m)
            check_variable(m)
            # The machine ends without having been told to.
            m.send(b"\x01x")
            m.end(0)
        with place.edk2() as m:
            expect_linux(m)
            check_variable(m)
            off(m)
        check(open(place.code, "rb").read() == before, "the firmware's file has changed")


def test_u_boot():
    with scratch(big=True) as directory:
        place = Place(directory)
        for more in ([], ["--bus", "pci"]):
            with Machine(["run", "--memory", "512M", "--kernel", guest("efi") + "/uboot.elf",
                          "--disk", place.disk + ",readonly", *more], seconds=300) as m:
                m.expect(rb"U-Boot 20\d\d\.\d\d")
                check("Das U-Boot" in expect_linux(m), "not U-Boot's")
                off(m)


def run_for(ms, *more):
    """EDK2 in guest time, as far as that goes; the hash of the machine."""
    code = guest("efi") + "/RISCV_VIRT_CODE.fd,readonly"
    code, out, err = run(["run", "--deterministic", "--console", "none", "--stats", "--run-for",
                          "%d000000" % ms, "--pflash", code, *more], seconds=300)
    check(code == 0, "exit code %d" % code, out + err)
    return re.search(rb"state hash +(\w+)", err).group(1)


def test_saved_state():
    """While EDK2 unpacks itself, and the second bank is one that only this machine has."""
    with scratch(big=True) as directory:
        state = directory + "/state"
        once = run_for(300)
        run_for(100, "--save", state)
        check(run_for(300, "--load", state) == once, "another machine after loading")
        code, _, err = run(["run", "--deterministic", "--load", state, "--kernel", guest("kernel")])
        check(code == 2 and b"flash" in err, "exit code %d" % code, err)


if __name__ == "__main__":
    harness.main(globals())
