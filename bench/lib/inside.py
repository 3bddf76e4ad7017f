"""Debian's own tools inside a guest that needs nothing else: Linux, busybox, and a disk with fio and
iperf3 for riscv64. Disks are told apart by their sizes: machines differ in which comes first."""

import os
import subprocess
import tempfile

from common import guest

PACKAGES = ["fio", "iperf3"]
TOOLS_MIB = 512

INIT = """#!/bin/sh
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for module in $(cat /etc/modules); do modprobe "$module"; done
disk() { # of so many MiB
    for entry in /sys/block/vd*; do
        [ "$(cat $entry/size)" = $(($1 * 2048)) ] && echo ${entry##*/}
    done
}
mkdir -p /tools
mount -t ext4 -o ro,noload /dev/$(disk %d) /tools
for folder in dev proc sys tmp; do mount --bind /$folder /tools/$folder; done
%s
poweroff -f
"""


def tools_disk():
    """The disk, made at first use."""
    tree = guest("tree", "bench-tools", "riscv64", *PACKAGES)
    disk = os.path.dirname(tree) + "/disk"
    if not os.path.exists(disk):
        for folder in ("dev", "proc", "sys", "tmp"):
            os.makedirs(tree + "/" + folder, exist_ok=True)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk + ".new",
                        "%dM" % TOOLS_MIB], check=True)
        os.rename(disk + ".new", disk)
    return disk


def initramfs(path, modules, commands):
    """Has the guest run the commands, in which TOOL stands before one of the tools."""
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as init:
        init.write(INIT % (TOOLS_MIB, commands.replace("TOOL", "chroot /tools")))
        init.flush()
        os.chmod(init.name, 0o755)
        return guest("initramfs", "--init", init.name, "--modules",
                     "virtio_mmio,virtio_pci,virtio_blk,crc32c_generic,ext4," + modules, "-o", path)


def machines(options, initrd):
    """The bus of QEMU's virtio devices, and {name: command} of machines with the tools; options has
    harts, pci and guise."""
    kernel, tools, append = guest("kernel"), tools_disk(), "console=ttyS0 quiet"
    bus = "pci" if options.pci else "device"
    rest = ["--bus", "pci", "--irqchip", "aia"] if options.pci else []
    return bus, {
        "QEMU": [guest("qemu") + "/qemu-system-riscv64", "-M",
                 "virt" + (",aia=aplic-imsic" if options.pci else ""), "-m", "512", "-nographic",
                 "-smp", str(options.harts), "-kernel", kernel, "-initrd", initrd, "-append",
                 append, "-drive", "file=%s,format=raw,if=none,id=tools,readonly=on" % tools,
                 "-device", "virtio-blk-%s,drive=tools" % bus],
        "guise": [options.guise, "run", "--cpus", str(options.harts), "--memory", "512M",
                  "--kernel", kernel, "--initrd", initrd, "--append", append, "--disk",
                  tools + ",format=raw,readonly", *rest],
    }
