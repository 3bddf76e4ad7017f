#!/usr/bin/env python3
"""Wrong usage and unusable input: one sentence that names what is wrong, exit code 2, no file left
behind, the terminal as it was."""

import os
import random
import re
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Machine, Skip, check, run, scratch, seed, text

LOOP = b"\x6f\x00\x00\x00"  # j .


def linux_header(text_offset=0x200000, image_size=0x1000, flags=0, code=LOOP + LOOP):
    """A Linux boot image header, version 0.2."""
    return code + struct.pack("<QQQIIQQII", text_offset, image_size, flags, 2, 0, 0,
                              0x5643534952, 0x05435352, 0)


def elf(machine=243, size=0x100, bits=2, phnum=1, paddr=0x80000000, memsz=None):
    """An ELF file with one segment."""
    ident = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x80000000, 64, 0, 0, 64, 56,
                               phnum, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0x1000, 0x80000000, paddr, size, memsz or size, 0x1000)
    return (head + segment).ljust(0x1000, b"\0") + LOOP.ljust(size, b"\0")


class Place:
    """A directory with the files that the cases name."""

    def __init__(self, directory):
        self.directory = directory
        self.write("fine", LOOP * 64)
        self.write("kernel", linux_header().ljust(0x1000, b"\0"))
        self.write("empty", b"")
        self.write("zeros", bytes(8192))
        self.write("short-elf", elf()[:40])
        self.write("cut-elf", elf()[:0x1080])
        self.write("arm.elf", elf(machine=183))
        self.write("elf32", elf(bits=1))
        self.write("no-segments.elf", elf(phnum=0))
        self.write("low.elf", elf(paddr=0x1000))
        self.write("huge.elf", elf(memsz=1 << 40))
        self.write("big-endian", linux_header(flags=1).ljust(0x1000, b"\0"))
        self.write("impossible", linux_header(image_size=1 << 63).ljust(0x1000, b"\0"))
        self.write("large-kernel", linux_header(image_size=1 << 30).ljust(0x1000, b"\0"))
        # An image with an EFI stub whose section table says that there is more.
        pe = b"PE\0\0" + struct.pack("<HHIIIHH", 0x5064, 1, 0, 0, 0, 0, 0)
        section = b".text\0\0\0" + struct.pack("<IIIIIIHHI", 0x9000, 0x1000, 0x9000, 0x1000, 0, 0,
                                                0, 0, 0)
        head = bytearray(linux_header(code=b"MZ" + bytes(6)))
        head[60:64] = struct.pack("<I", 64)
        self.write("cut-kernel", (bytes(head) + pe + section).ljust(0x2000, b"\0"))
        with open(self.path("big-initrd"), "wb") as file:
            file.truncate(300 << 20)
        self.write("disk", bytes(1 << 16))
        with open(self.path("flash"), "wb") as file:
            file.truncate(32 << 20)
        self.write("image", b"QFI\xfb" + struct.pack(">IQIIQ", 4, 0, 0, 16, 1 << 20) + bytes(100))
        self.write("no-state", bytes(100))
        os.mkdir(self.path("folder"))
        os.mkfifo(self.path("fifo"))

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)

    def fill(self, words):
        """{name} becomes the path of that file."""
        return re.sub(r"\{([^}]*)\}", lambda match: self.path(match.group(1)), words)

    def listing(self):
        return {entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns)
                for entry in os.scandir(self.directory)}


# Arguments (words; {name} is a file of Place), and what the sentence must contain.
CASES = [
    ("frobnicate", "frobnicate"),
    ("run", "--kernel"),
    ("run --frobnicate", "--frobnicate"),
    ("run -x", "-x"),
    ("run --kernel", "--kernel"),
    ("run --kernel {fine} --disk", "--disk"),
    ("run --deterministic=yes --kernel {kernel}", "--deterministic"),
    ("run {missing}", "{missing}"),
    ("run {disk} {kernel}", "{kernel}"),
    ("run {disk},format=qcow2 --kernel {kernel}", "{disk}"),
    ("run --kernel {missing}", "{missing}"),
    ("run --kernel {folder}", "{folder}"),
    ("run --kernel {fifo}", "{fifo}"),
    ("run --kernel {empty}", "{empty}"),
    ("run --kernel {zeros}", "{zeros}"),
    ("run --kernel {fine}", "{fine}"),
    ("run --kernel /bin/true", "/bin/true"),
    ("run --firmware /bin/true", "/bin/true"),
    ("run --kernel {arm.elf}", "{arm.elf}"),
    ("run --kernel {elf32}", "{elf32}"),
    ("run --kernel {short-elf}", "{short-elf}"),
    ("run --kernel {cut-elf}", "{cut-elf}"),
    ("run --firmware {cut-elf}", "{cut-elf}"),
    ("run --kernel {no-segments.elf}", "{no-segments.elf}"),
    ("run --kernel {low.elf}", "{low.elf}"),
    ("run --firmware {low.elf}", "{low.elf}"),
    ("run --kernel {huge.elf}", "{huge.elf}"),
    ("run --kernel {big-endian}", "{big-endian}"),
    ("run --kernel {impossible}", "{impossible}"),
    ("run --kernel {large-kernel}", "{large-kernel}"),
    ("run --kernel {cut-kernel}", "{cut-kernel}"),
    ("run --firmware {missing}", "{missing}"),
    ("run --firmware {folder}", "{folder}"),
    ("run --firmware {empty}", "{empty}"),
    ("run --firmware {big-initrd}", "{big-initrd}"),
    ("run --kernel {kernel} --initrd {missing}", "{missing}"),
    ("run --kernel {kernel} --initrd {folder}", "{folder}"),
    ("run --kernel {kernel} --initrd {empty}", "{empty}"),
    ("run --kernel {kernel} --initrd {big-initrd}", "{big-initrd}"),
    ("run --firmware {fine} --initrd {zeros}", "{zeros}"),
    ("run --kernel {kernel} --memory 0", "0"),
    ("run --kernel {kernel} --memory 1M", "1048576"),
    ("run --kernel {kernel} --memory 5000000", "5000000"),
    ("run --kernel {kernel} --memory 100000G", "memory"),
    ("run --kernel {kernel} --memory 8T", "8388608 MiB"),
    ("run --kernel {kernel} --memory 4000000T", "memory"),
    ("run --kernel {kernel} --memory 99999999999999999999", "99999999999999999999"),
    ("run --kernel {kernel} --memory -1", "-1"),
    ("run --kernel {kernel} --code-cache 4K", "4K"),
    ("run --kernel {kernel} --code-cache 2G", "2G"),
    ("run --kernel {kernel} --code-cache lots", "lots"),
    ("run --kernel {kernel} --memory 12Q", "12Q"),
    ("run --kernel {kernel} --memory 12MM", "12MM"),
    ("run --kernel {kernel} --memory much", "much"),
    ("run --kernel {kernel} --cpus 0", "0"),
    ("run --kernel {kernel} --cpus 65", "65"),
    ("run --kernel {kernel} --cpus -1", "-1"),
    ("run --kernel {kernel} --cpus two", "two"),
    ("run --kernel {kernel} --cpus 18446744073709551617", "18446744073709551617"),
    ("run --kernel {kernel} --engine warp", "warp"),
    ("run --kernel {kernel} --mmu sv32", "sv32"),
    ("run --kernel {kernel} --disk {missing}", "{missing}"),
    ("run --kernel {kernel} --disk {missing},readonly", "{missing}"),
    ("run --kernel {kernel} --disk {folder}", "{folder}"),
    ("run --kernel {kernel} --disk {fifo}", "{fifo}"),
    ("run --kernel {kernel} --disk ,readonly", "--disk"),
    ("run --kernel {kernel} --disk {disk} --disk {disk}", "{disk}"),
    ("run --kernel {kernel} --disk {disk},format=vmdk", "vmdk"),
    ("run --kernel {kernel} --disk {disk},format=qcow2,readonly", "{disk}"),
    ("run --kernel {kernel} --disk {image}", "version 4"),
    ("run --kernel {kernel}" + " --disk {disk},readonly" * 8, "--disk"),
    ("run --pflash {disk}", "{disk}: has 65536 bytes, but flash has 33554432"),
    ("run --pflash {missing}", "{missing}"),
    ("run --pflash {flash},readonly --uefi {missing}", "--uefi"),
    ("run --pflash ,readonly", "--pflash"),
    ("run --pflash {flash},readonly --pflash {disk}", "{disk}: has 65536"),
    ("run --pflash {flash},readonly --pflash {flash}", "{flash}"),
    ("run" + " --pflash {flash},readonly" * 3, "--pflash"),
    ("run --pflash {flash},readonly --initrd {zeros}", "{zeros}"),
    ("run --pflash {flash} --lockstep interp,interp", "{flash},readonly"),
    ("run --kernel {kernel} --console teletype", "teletype"),
    ("run --kernel {kernel} --console file:", "file:"),
    ("run --kernel {kernel} --console file:{folder}", "{folder}"),
    ("run --kernel {kernel} --console file:{missing}/x", "{missing}/x"),
    ("run --kernel {kernel} --console pty:1", "pty"),
    ("run --kernel {kernel} --console unix:{missing}/x", "{missing}/x"),
    ("run --kernel {kernel} --console unix:" + "x" * 108, "107 bytes"),
    ("run --kernel {kernel} --port unix:x", "name=NAME"),
    ("run --kernel {kernel} --port unix:x,name=a/b", "a/b"),
    ("run --kernel {kernel} --port pty,name=a", "pty"),
    ("run --kernel {kernel} --port file:{missing}/x,name=a", "{missing}/x"),
    ("run --kernel {kernel} --port unix:{missing}/x,name=a", "{missing}/x"),
    ("run --kernel {kernel}" + " --port file:/dev/null,name=a" * 2, "two ports"),
    ("run --kernel {kernel}" + " --port file:/dev/null,name=a" * 7, "--port"),
    ("run --kernel {kernel} --deterministic --port unix:x,name=a", "unix:x"),
    ("run --kernel {kernel} --lockstep interp,interp --port file:{new},name=a", "{new}"),
    ("run --kernel {missing} --port file:{new},name=a", "{missing}"),
    ("run --kernel {missing} --console file:{new}", "{missing}"),
    ("run --kernel {kernel} --memory 1M --console file:{new}", "1048576"),
    ("run --kernel {large-kernel} --console file:{new}", "{large-kernel}"),
    ("run --kernel {kernel} --name a/b", "a/b"),
    ("run --kernel {kernel} --paused --control none", "--paused"),
    ("run --kernel {kernel} --control {disk}", "{disk}"),
    ("run --kernel {kernel} --control {missing}/x", "{missing}/x"),
    ("run {missing}.json", "{missing}.json"),
    ("run --kernel {kernel} --gdb 65536", "65536"),
    ("run --kernel {kernel} --gdb door", "door"),
    ("run --kernel {kernel} --gdb unix:", "Unix socket"),
    ("run --kernel {kernel} --gdb unix:{missing}/socket", "{missing}/socket"),
    ("run --kernel {kernel} --run-for 1", "deterministic"),
    ("run --kernel {kernel} --deterministic --run-for soon", "soon"),
    ("run --kernel {kernel} --deterministic --run-for 0", "0"),
    ("run --kernel {kernel} --save {new}", "--save"),
    ("run --kernel {kernel} --deterministic --run-for 1000 --save {missing}/x", "{missing}/x"),
    ("run --kernel {kernel} --deterministic --run-for 1000 --save {folder}", "{folder}"),
    ("run --kernel {kernel} --deterministic --load {missing}", "{missing}"),
    ("run --kernel {kernel} --deterministic --load {folder}", "{folder}"),
    ("run --kernel {kernel} --deterministic --load {empty}", "{empty}"),
    ("run --kernel {kernel} --deterministic --load {no-state}", "{no-state}"),
    ("run --kernel {kernel} --lockstep interp", "two engines"),
    ("run --kernel {kernel} --lockstep interp,warp", "warp"),
    ("run --kernel {kernel} --lockstep interp,interp --disk {disk}", "{disk},readonly"),
    ("run --kernel {kernel} --lockstep interp,interp --console pty", "pty"),
    ("run --kernel {kernel} --lockstep interp,interp --gdb 1234", "debugger"),
    ("run --kernel {kernel} --dump-dtb {folder}", "{folder}"),
    ("run --kernel {kernel} --dump-dtb {missing}/dtb", "{missing}/dtb"),
    ("disasm", "disasm"),
    ("disasm {missing}", "{missing}"),
    ("disasm {folder}", "{folder}"),
    ("disasm {fine} {fine}", "disasm"),
    ("disk", "create, info"),
    ("disk frobnicate", "create, info"),
    ("disk info", "guise disk info FILE"),
    ("disk info {missing}", "{missing}"),
    ("disk info {folder}", "{folder}"),
    ("disk info {disk} {disk}", "{disk}"),
    ("disk info --shrink {disk}", "does not take"),
    ("disk info --format vmdk {disk}", "vmdk"),
    ("disk info {image}", "{image}"),
    ("disk create {new}", "size"),
    ("disk create {new} 1Q", "1Q"),
    ("disk create {new} 0", "size"),
    ("disk create {disk} 1M", "{disk}"),
    ("disk create {missing}/x 1M", "{missing}/x"),
    ("disk create --format vmdk {new} 1M", "vmdk"),
    ("disk create --cluster-size 4K {new} 1M", "raw"),
    ("disk create --format qcow2 --cluster-size 3000 {new} 1M", "cluster"),
    ("disk create --format qcow2 --cluster-size 4M {new} 1M", "cluster"),
    ("disk create --format qcow2 --refcount-bits 3 {new} 1M", "refcount"),
    ("disk create --format qcow2 --image-version 4 {new} 1M", "versions"),
    ("disk create --format qcow2 --image-version 2 --lazy-refcounts {new} 1M", "version 2"),
    ("disk create --format qcow2 --cluster-size 512 {new} 1T", "larger ones"),
    ("disk create --format qcow2 --preallocation all {new} 1M", "all"),
    ("disk create --format qcow2 --backing {disk} {new} 1M", "{disk}"),
    ("disk create --format qcow2 --backing-format raw {new} 1M", "--backing"),
    ("disk create --format qcow2 --backing missing --backing-format raw {new} 1M", "{missing}"),
    ("disk create --format qcow2 --backing nbd:x --backing-format raw {new} 1M", "nbd:x"),
    ("disk convert {disk}", "guise disk convert FILE TARGET"),
    ("disk convert {disk} {zeros}", "{zeros}"),
    ("disk convert {disk} {missing}/x", "{missing}/x"),
    ("disk convert --snapshot old {disk} {new}", "snapshots"),
    ("disk convert {image} {new}", "{image}"),
    ("disk convert --to vmdk {disk} {new}", "vmdk"),
    ("disk check {disk}", "nothing to check"),
    ("disk check {image}", "{image}"),
    ("disk resize {disk}", "SIZE"),
    ("disk resize {disk} 512", "--shrink"),
    ("disk resize {disk} +100", "sectors"),
    ("disk resize {disk} much", "much"),
    ("disk commit {disk}", "no backing file"),
    ("disk map {image}", "{image}"),
    ("image", "image"),
    ("image build", "image"),
    ("image build suse -o {missing}", "image"),
    ("image build debian", "-o"),
    ("image build debian more -o {missing}", "more"),
    ("image build debian --o {missing}", "--o"),
    ("image build debian -o", "-o"),
    ("image build debian -o {missing} --size 1M", "1M"),
    ("image build debian -o {missing} --suite ../other", "../other"),
    ("image build debian -o {missing} --include a;b", "a;b"),
    ("image build debian -o {missing} --hostname -x", "-x"),
    ("image build debian -o {missing} --ssh-key {missing}", "{missing}"),
    ("version now", "version"),
    ("help frobnicate", "frobnicate"),
    ("help run disasm", "help"),
]


def refused(place, words, needle, program=None, prefix=()):
    args = [place.fill(word) for word in words.split()]
    needle = place.fill(needle)
    before = place.listing()
    with Machine([*prefix, *args], program=program, seconds=20) as m:
        m.end(2)
        output = text(m.log)
    what = "guise " + " ".join(args)
    check(output.startswith("guise: ") and output.endswith("\n") and output.count("\n") == 1,
          what + " does not print one line `guise: ...`", m.log)
    check(needle in output, "%s: the sentence does not name %r" % (what, needle), m.log)
    check(place.listing() == before, what + ": left files behind or changed them: %r"
          % sorted(set(place.listing().items()) ^ set(before.items())))


def test_table():
    wrong = []
    with scratch() as directory:
        place = Place(directory)
        for words, needle in CASES:
            try:
                refused(place, words, needle)
            except harness.Failure as reason:
                wrong.append(str(reason))
    check(not wrong, "%d of %d cases:\n%s" % (len(wrong), len(CASES), "\n".join(wrong)))


def test_no_verb():
    code, out, err = run([])
    check(code == 2 and not out and err, "exit code %d" % code, out + err)


def test_truncated_kernel():
    """Debian's kernel, cut at several places."""
    kernel = harness.guest("kernel")
    with open(kernel, "rb") as file:
        data = file.read()
    with scratch(big=True) as directory:
        place = Place(directory)
        for size in (63, 64, 4096, len(data) // 2, len(data) - 4096):
            place.write("cut", data[:size])
            refused(place, "run --kernel {cut}", "{cut}")


def test_damaged_state():
    """A saved state that is cut or changed anywhere is refused by its checksum; one of another
    machine by what it says. fuzz_snapshot goes behind the checksum."""
    rng = random.Random(seed())
    machine = "run --firmware {fine} --deterministic --memory 4M --cpus 2 "
    with scratch() as directory:
        place = Place(directory)
        args = [place.fill(word) for word in machine.split()]
        for more in (["--run-for", "100000", "--save", place.path("good")],
                     ["--run-for", "200000", "--load", place.path("good")]):
            code, out, err = run([*args, "--console", "none", *more])
            check(code == 0, "exit code %d" % code, out + err)
        with open(place.path("good"), "rb") as file:
            good = file.read()
        for _ in range(20):
            bad = bytearray(good)
            bad[rng.randrange(len(bad))] ^= rng.randrange(1, 256)
            place.write("bad", bad)
            refused(place, machine + "--load {bad}", "{bad}")
        for size in (1, 20, 21, 22, *(rng.randrange(len(good)) for _ in range(10))):
            place.write("bad", good[:size])
            refused(place, machine + "--load {bad}", "{bad}")
        place.write("bad", good + b"x")
        refused(place, machine + "--load {bad}", "{bad}")
        for other in (machine.replace("4M", "8M"), machine.replace("--cpus 2", "--cpus 3"),
                      machine.replace("--firmware {fine}", "--kernel {kernel}"),
                      machine.replace("--deterministic", "")):
            refused(place, other + "--load {good}", "{good}")


def test_disk_not_writable():
    with scratch() as directory:
        place = Place(directory)
        words = "run --kernel {kernel} --disk {disk}"
        if os.geteuid():
            os.chmod(place.path("disk"), 0o444)
            refused(place, words, "{disk}")
            return
        # Root may write everything, except on a file system that is read-only.
        script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && shift && exec "$@"'
        prefix = ["-m", "sh", "-c", script, place.path("disk"), "-"]
        if subprocess.run([harness.tool("unshare"), *prefix, "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode:
            raise Skip("this root may not make mounts in a namespace of its own")
        refused(place, words, "{disk}", program="unshare", prefix=[*prefix, harness.guise])
        with Machine([*prefix, harness.guise, "run", "--firmware", place.path("fine"), "--disk",
                      place.path("disk") + ",readonly", "--deterministic", "--run-for", "1000"],
                     program="unshare") as m:
            m.end(0)


def test_disk_in_use():
    with scratch() as directory:
        place = Place(directory)
        with Machine(["run", "--firmware", place.path("fine"), "--disk", place.path("disk"),
                      "--console", "none"]) as first:
            harness.wait_until(lambda: holds(first.process.pid, place.path("disk")),
                               "the first guise does not open its disk")
            refused(place, "run --kernel {kernel} --disk {disk}", "{disk}")
            refused(place, "run --kernel {kernel} --disk {disk},readonly", "{disk}")
            first.signal()
            check(first.wait() == -15, "SIGTERM")
        with Machine(["run", "--firmware", place.path("fine"), "--disk", place.path("disk"),
                      "--deterministic", "--run-for", "1000"]) as m:
            m.end(0)


def holds(pid, path):
    """The process has the file open and locked."""
    inode = os.stat(path).st_ino
    with open("/proc/locks", encoding="ascii") as file:
        return any(":%d " % inode in line for line in file)


def test_gdb_port_in_use():
    with scratch() as directory, socket.socket() as listener:
        place = Place(directory)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        refused(place, "run --kernel {kernel} --gdb " + port, port)


def test_console_full():
    """A console that the host cannot write does not end or stop the guest."""
    if not os.path.exists("/dev/full"):
        raise Skip("there is no /dev/full")
    with scratch() as directory:
        place = Place(directory)
        code, _, err = run(["run", "--firmware", place.path("fine"), "--console", "file:/dev/full",
                            "--deterministic", "--run-for", "1000000"])
        check(code == 0 and not err, "exit code %d" % code, err)


if __name__ == "__main__":
    harness.main(globals())
