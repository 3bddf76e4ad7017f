#!/usr/bin/env python3
"""gdb-multiarch debugs Debian's kernel in a guise machine: breakpoint, backtrace, single steps.

The kernel's package has no symbols, so a first boot prints some of /proc/kallsyms, and an ELF file
with just these symbols, over zeroes, is made for gdb, which reads the code from the machine. There is no seed for KASLR in the device tree: addresses are
the same in the second boot.

usage: kernel_gdb.py GUISE [ENGINE]
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, ROOT + "/tests")
from harness import QUICK  # pylint: disable=wrong-import-position
SYMBOLS = ["vfs_write", "ksys_write", "__riscv_sys_write", "do_trap_ecall_u"]

INIT = """#!/bin/sh
echo "guise: init"
mount -t proc proc /proc
grep -E ' (%s)$' /proc/kallsyms
echo "guise: done"
poweroff -f
""" % "|".join(SYMBOLS)


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def guest(*args):
    got = subprocess.run([ROOT + "/tools/guest", *args], stdout=subprocess.PIPE, text=True)
    if got.returncode:
        skip(f"tools/guest {args[0]} could not fetch the guest")
    return got.stdout.strip()


def boot(guise, kernel, initrd, *args):
    return [*guise, "--kernel", kernel, "--initrd", initrd,
            "--append", "console=ttyS0 quiet " + QUICK, "--console", "stdio", *args]


def kernel_symbols(command):
    out = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                         timeout=120, errors="replace").stdout
    found = {name: int(address, 16)
             for address, name in re.findall(r"([0-9a-f]{16}) \w (\w+)\r?\n", out)}
    assert set(SYMBOLS) <= set(found), f"/proc/kallsyms lacks symbols:\n{out}"
    assert all(found.values()), f"/proc/kallsyms hides addresses:\n{out}"
    return found


def symbol_file(directory, symbols):
    source, obj, elf = (os.path.join(directory, "symbols" + ext) for ext in (".s", ".o", ".elf"))
    base = min(symbols.values()) & ~0xfff
    with open(source, "w", encoding="ascii") as f:
        for name, address in sorted(symbols.items(), key=lambda item: item[1]):
            f.write(f".org {address - base:#x}\n.globl {name}\n.type {name}, @function\n{name}:\n")
        f.write(".zero 4096\n")
    subprocess.run(["riscv64-linux-gnu-as", source, "-o", obj], check=True)
    subprocess.run(["riscv64-linux-gnu-ld", f"-Ttext={base:#x}", "-e", "0", obj, "-o", elf],
                   check=True)
    return elf


def main():
    guise = [sys.argv[1], "run"]
    if len(sys.argv) > 2:
        guise += ["--engine", sys.argv[2]]
    for tool in ("gdb-multiarch", "riscv64-linux-gnu-as", "riscv64-linux-gnu-ld"):
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    kernel = guest("kernel")
    with tempfile.TemporaryDirectory() as tmp:
        init, initrd = tmp + "/init", tmp + "/initrd"
        with open(init, "w", encoding="ascii") as f:
            f.write(INIT)
        guest("initramfs", "--init", init, "-o", initrd)
        symbols = kernel_symbols(boot(guise, kernel, initrd))
        elf = symbol_file(tmp, symbols)
        socket = tmp + "/gdb"
        machine = subprocess.Popen(boot(guise, kernel, initrd, "--gdb", "unix:" + socket),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while not os.path.exists(socket) and time.monotonic() < deadline:
            time.sleep(0.05)  # gdb does not wait for one
        script = ["set pagination off", "set confirm off", "set arch riscv:rv64",
                  "target remote " + socket, "hbreak *vfs_write", "continue",
                  "printf \"at %#lx\\n\", $pc", "backtrace 4", "stepi", "stepi",
                  "printf \"then %#lx\\n\", $pc", "info threads", "delete", "kill"]
        command = ["gdb-multiarch", "-nx", "-batch", elf]
        for line in script:
            command += ["-ex", line]
        try:
            out = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, timeout=180).stdout
            try:
                code = machine.wait(timeout=30)
            except subprocess.TimeoutExpired:
                code = "nothing, and goes on"
        finally:
            machine.kill()
    at = re.search(r"^at (0x[0-9a-f]+)", out, re.M)
    then = re.search(r"^then (0x[0-9a-f]+)", out, re.M)
    assert at and int(at[1], 16) == symbols["vfs_write"], out
    moved = int(then[1], 16) - int(at[1], 16) if then else 0
    assert 4 <= moved <= 8, f"two steps moved by {moved}:\n{out}"
    for name in SYMBOLS:
        assert re.search(rf"^#\d+ .*{name} ", out, re.M), f"{name} is not in the backtrace:\n{out}"
    assert "Hart 0, S-mode" in out, out
    assert code == 0, f"guise ended with {code}:\n{out}"
    print(out)


if __name__ == "__main__":
    main()
