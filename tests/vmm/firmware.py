#!/usr/bin/env python3
"""Real firmware: Debian's OpenSBI boots the kernel, U-Boot answers, and bare M-mode programs print
and end as they do on QEMU, which runs the same files."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Bare, Machine, check, guest, linux, scratch, text

def firmware(name):
    return guest("firmware") + "/" + name


def opensbi(name, *args):
    with Machine(["run", "--firmware", firmware(name), *linux("console=ttyS0 quiet"), *args],
                 seconds=90) as m:
        m.expect(rb"OpenSBI v1\.")
        m.login()
        return_code = m.shell("nproc")
        m.send(b"poweroff -f\n")
        m.end(0)
        return return_code.strip()


def test_opensbi_dynamic():
    check(opensbi("fw_dynamic.bin") == "1", "nproc")


def test_opensbi_dynamic_four_harts():
    check(opensbi("fw_dynamic.bin", "--cpus", "4") == "4", "nproc")


def test_opensbi_jump():
    check(opensbi("fw_jump.bin") == "1", "nproc")


def test_opensbi_jump_four_harts():
    check(opensbi("fw_jump.bin", "--cpus", "4") == "4", "nproc")


def test_opensbi_reboot():
    with Machine(["run", "--firmware", firmware("fw_dynamic.bin"), *linux("console=ttyS0 quiet")],
                 seconds=90) as m:
        m.login()
        m.send(b"reboot -f\n")
        m.expect(rb"OpenSBI v1\.")
        m.login()
        m.send(b"poweroff -f\n")
        m.end(0)


def test_u_boot():
    with Machine(["run", "--firmware", firmware("u-boot.bin"), "--cpus", "2"]) as m:
        for _ in range(2):
            m.expect(rb"U-Boot 20\d\d\.\d\d")
            m.expect(rb"Hit any key to stop autoboot")
            m.send(b"\n")
            m.expect(rb"=> ")
            m.send(b"version\n")
            m.expect(rb"version\r*\nU-Boot 20\d\d\.\d\d")
            m.expect(rb"=> ")
            m.send(b"bdinfo\n")
            m.expect(rb"-> size\s+= 0x0*10000000")
            m.expect(rb"=> ")
            m.send(b"reset\n")
        m.expect(rb"U-Boot 20\d\d\.\d\d")
        m.send(b"\x01x")
        m.end(0)


# ---- bare programs ------------------------------------------------------------------------------


def talk(machine, dialogue, code):
    """Sends what a program waits for; returns what it printed."""
    with machine as m:
        for prompt, answer in dialogue:
            m.expect(prompt)
            m.send(answer)
        m.wait()
        if m.process.returncode != code:
            m.fail("exit code %d, expected %d" % (m.process.returncode, code))
        return text(m.log)


def bare(name, literal, code=0, cpus=1, dialogue=()):
    """`literal` is a part of the output that is known; all of it must be as on QEMU."""
    qemu = guest("qemu") + "/qemu-system-riscv64"
    with scratch() as directory:
        base = Bare(directory).make(name)
        theirs = talk(Machine(["-M", "virt", "-m", "64", "-smp", str(cpus), "-nographic",
                               "-monitor", "none", "-serial", "stdio", "-bios", base + ".elf"],
                              program=qemu), dialogue, code)
        for image in (base + ".bin", base + ".elf"):
            for more in ([], ["--deterministic"]):
                if more and dialogue:
                    continue  # input comes when it comes
                ours = talk(Machine(["run", "--firmware", image, "--memory", "64M", "--cpus",
                                     str(cpus), *more]), dialogue, code)
                check(ours == theirs, "%s %s prints\n%s---- and on QEMU\n%s"
                      % (os.path.basename(image), " ".join(more), ours, theirs))
        check(literal in theirs, "%r is missing in\n%s" % (literal, theirs))


def test_bare_uart():
    bare("uart", "HELLO, UART 16550!", dialogue=[(rb"type:\r*\n", b"hello, uart 16550!.")])


def test_bare_timer():
    bare("timer", "tick 4\ntick 5\ntime agrees\n")


def test_bare_ipi():
    bare("ipi", "hart 3\nhart 0\nhart 1\nhart 2\nhart 3\nsum 0000000000000fa0", cpus=4)


def test_bare_paging():
    bare("paging", "load nothing 000000000000000d 0000000040002123 \n")


def test_bare_pmp():
    bare("pmp", "locked store 0000000000000007 0000000000000000 \n")


def test_bare_traps():
    bare("traps", "\ndone\n", code=42)


def test_bare_reset():
    bare("reset", "first start\nsecond start\n")


if __name__ == "__main__":
    harness.main(globals())
