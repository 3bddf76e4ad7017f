#!/usr/bin/env python3
"""Network block devices: nbdkit, qemu-nbd and hostile servers, from `guise disk`, from programs that
keep many requests in flight, and from a guest.

Arguments: the guise program, tests/block/exercise, functions to call. Random; GUISE_SEED repeats."""

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
import harness
from harness import Machine, check, linux, run, scratch, seed, text, tool, wait_until

exercise = None
MIB = 1 << 20


def reaches(path):
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
        return True
    except OSError:
        return False


class Server:
    """A program that serves at a Unix socket of the directory; .uri is the export."""

    def __init__(self, directory, *words, export=""):
        self.path = directory + "/socket"
        self.uri = "nbd+unix:///%s?socket=%s" % (export, self.path)
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.process = subprocess.Popen([tool(words[0])] + list(map(str, words[1:])),
                                        stdin=subprocess.DEVNULL)
        wait_until(lambda: reaches(self.path) or self.process.poll() is not None, "no server")
        check(self.process.poll() is None, "the server has ended: " + " ".join(map(str, words)))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait()


def nbdkit(directory, *words):
    """With the plugin, its parameters and filters."""
    return Server(directory, "nbdkit", "-f", "-t", "16", "-U", directory + "/socket", *words)


def qemu_nbd(directory, *words):
    return Server(directory, "qemu-nbd", "-t", "-e", "4", "-k", directory + "/socket", "-x", "a b",
                  *words, export="a%20b")


def disk(*args, code=0, seconds=60, env=None):
    """Output of guise disk."""
    more = {"env": dict(harness.environment(None), **env)} if env else {}
    got, out, err = run(["disk"] + [str(word) for word in args], seconds, **more)
    check(got == code, "guise disk %s ended with %d" % (" ".join(map(str, args)), got), out + err)
    return text(out + err)


def sentence(output, *words):
    """There is one line, and it says so."""
    lines = output.strip().splitlines()
    check(len(lines) == 1 and lines[0].startswith("guise: "), "one sentence, not %r" % output)
    for word in words:
        check(word in lines[0], "%r is not in %r" % (word, lines[0]))


def work(*args):
    code, out, err = run([str(word) for word in args], program=exercise, seconds=120)
    check(code == 0, "exercise %s" % " ".join(map(str, args)), out + err)


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


# ---- real servers -------------------------------------------------------------------------------


def test_random():
    """One operation after the other on what differs in what it can, compared with a shadow."""
    number = seed()
    for words in (["memory", "12M"],
                  ["--filter=blocksize-policy", "memory", "12M", "blocksize-minimum=4096",
                   "blocksize-preferred=4096", "blocksize-maximum=64k",
                   "blocksize-error-policy=error"],
                  ["--filter=nozero", "--filter=noextents", "memory", "12M"],
                  ["--no-sr", "memory", "12M"]):
        with scratch() as directory, nbdkit(directory, *words) as server:
            work("random", server.uri, "raw", directory + "/shadow", number, 1500)
    with scratch() as directory:
        image = directory + "/image"
        write(image, bytes(9 * MIB))
        with qemu_nbd(directory, "--discard=unmap", "-f", "raw", image) as server:
            work("random", server.uri, "raw", directory + "/shadow", number, 1500)
        check(contents(image) == contents(directory + "/shadow"), "the image and its shadow differ")


def test_in_flight():
    """Requests do not wait for each other."""
    with scratch() as directory:
        with nbdkit(directory, "memory", "8M") as server:
            work("queue", server.uri, "raw", directory + "/shadow", seed(), 4000, 1)
        delays = ["--filter=delay", "memory", "8M", "delay-read=50ms", "delay-write=50ms"]
        with nbdkit(directory, *delays) as server:
            start = time.monotonic()
            work("queue", server.uri, "raw", directory + "/other", seed(), 24 * 30, 1)
            spent = time.monotonic() - start
            # 24 times 30 requests, of which 6 in 8 are delayed.
            check(spent < 24 * 30 * 0.75 * 0.05 / 3 * harness.FACTOR, "%.1f s" % spent)


def test_tcp():
    """By a host's name, and the protocol's errors become the guest's."""
    with scratch() as directory, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        server = subprocess.Popen([tool("nbdkit"), "-f", "-i", "127.0.0.1", "-p", str(port),
                                   "-P", directory + "/pid", "--filter=error", "memory", "1M",
                                   "error-pread=EPERM", "error-pread-rate=100%",
                                   "error-pread-file=" + directory + "/fail"])
        try:
            wait_until(lambda: os.path.exists(directory + "/pid"), "no nbdkit")
            uri = "nbd://localhost:%d/name" % port
            check("1048576 bytes" in disk("info", uri), "size")
            disk("convert", uri, directory + "/out", "--to", "raw")
            write(directory + "/full", os.urandom(MIB))
            disk("convert", directory + "/full", uri)
            write(directory + "/fail", b"")
            # Without a format its first bytes are looked at; raw is what cannot be read.
            sentence(disk("convert", uri, directory + "/out2", "--to", "raw", code=2),
                     "cannot be copied", "Operation not permitted")
        finally:
            server.terminate()
            server.wait()


def test_tls():
    """Encrypted, with a key that the URI names; a wrong one is refused."""
    with scratch() as directory:
        for name in ("good", "bad"):
            write("%s/%s" % (directory, name), b"alice:" + os.urandom(16).hex().encode() + b"\n")
        with nbdkit(directory, "--tls=require", "--tls-psk=" + directory + "/good", "memory",
                    "12M") as server:
            tls = server.uri.replace("nbd+unix:///", "nbds+unix://alice@/") + "&tls-psk-file="
            work("random", tls + directory + "/good", "raw", directory + "/shadow", seed(), 300)
            sentence(disk("info", tls + directory + "/bad", code=2), tls)
            sentence(disk("info", server.uri, code=2), server.uri)


def test_readonly():
    with scratch() as directory, nbdkit(directory, "-r", "memory", "4M") as server:
        write(directory + "/data", os.urandom(MIB))
        disk("info", server.uri)
        sentence(disk("convert", directory + "/data", server.uri, code=2), "read-only")
        code, out, err = run(["run", "--disk", server.uri, "--firmware", directory + "/data"])
        check(code == 2, "run ended with %d" % code, out + err)
        sentence(text(err), "read-only", server.uri + ",readonly")


def test_convert():
    """Copies in both directions, and what does not fit."""
    rng = random.Random(seed())
    with scratch() as directory:
        data, out = directory + "/data", directory + "/out"
        piece = bytearray(5 * MIB)
        for _ in range(20):
            at = rng.randrange(len(piece) - 70000)
            piece[at:at + 70000] = rng.randbytes(70000)
        write(data, piece)
        image = directory + "/image"
        write(image, os.urandom(6 * MIB))
        behind = contents(image)[5 * MIB:]
        with qemu_nbd(directory, "-f", "raw", image) as server:
            disk("convert", data, server.uri)
            check(contents(image) == bytes(piece) + behind, "what was copied to the server")
            disk("convert", server.uri, out)
            check(contents(out) == contents(image), "what was copied from the server")
            disk("convert", server.uri, out + ".qcow2")
            disk("convert", out + ".qcow2", server.uri)
            check(contents(image) == bytes(piece) + behind, "the way through an image")
            write(data, bytes(7 * MIB))
            sentence(disk("convert", data, server.uri, code=2), "fewer than")
            sentence(disk("convert", "--to", "qcow2", data, server.uri, code=2), "only raw")
            sentence(disk("convert", "--cluster-size", "4096", data, server.uri, code=2), "new images")
            sentence(disk("create", server.uri, "1M", code=2), "made by its server")
            sentence(disk("resize", server.uri, "8M", code=2), "whose size the server decides")
            sentence(disk("check", server.uri, code=2), "nothing to check")
            check(" data " in disk("map", server.uri), "map")


def test_odd_size():
    """The last sector is filled up with zeroes, and nothing is written."""
    with scratch() as directory:
        write(directory + "/odd", b"x" * 1000)
        with nbdkit(directory, "file", directory + "/odd") as server:
            disk("convert", server.uri, directory + "/out", "--to", "raw")
            check(contents(directory + "/out") == b"x" * 1000 + bytes(24), "contents")
            sentence(disk("convert", directory + "/out", server.uri, code=2), "sectors")
        write(directory + "/odd", b"")
        with nbdkit(directory, "file", directory + "/odd") as server:
            sentence(disk("info", server.uri, code=2), "is empty")


def test_qcow2():
    """An image that a server has as bytes is one; it cannot grow, and has nothing behind it."""
    with scratch() as directory:
        image, shadow = directory + "/image", directory + "/shadow"
        disk("create", "--format", "qcow2", image, "8M")
        os.truncate(image, 20 * MIB)
        with qemu_nbd(directory, "-f", "raw", image) as server:
            work("random", server.uri, "qcow2", shadow, seed(), 600)
            check("qcow2" in disk("info", server.uri), "format")
            check("no errors" in disk("check", server.uri), "check")
            disk("convert", server.uri, directory + "/out")
            check(contents(directory + "/out") == contents(shadow), "contents")
        os.unlink(image)
        disk("create", "--format", "qcow2", "--backing", shadow, "--backing-format", "raw", image)
        with qemu_nbd(directory, "-f", "raw", image) as server:
            sentence(disk("map", server.uri, code=2), "backing file")


def test_killed_server():
    """Half of a copy: an end, a reason, and no file."""
    with scratch() as directory:
        with nbdkit(directory, "--filter=delay", "pattern", "1G", "delay-read=100ms") as server:
            killer = threading.Timer(1, server.kill)
            killer.start()
            output = disk("convert", server.uri, directory + "/out", code=2)
            killer.join()
            check(output.count("the connection to the server is lost") == 1, "reason", output.encode())
            check("cannot be copied" in output and len(output.strip().splitlines()) == 2, "lines",
                  output.encode())
            check(not os.path.exists(directory + "/out"), "half of a copy was left")


def test_bad_input():
    with scratch() as directory:
        nowhere = "nbd+unix:///x?socket=%s/nothing" % directory
        sentence(disk("info", nowhere, code=2), nowhere, "No such file")
        sentence(disk("info", "nbd+unix:///x", code=2), "nbd+unix:///x")
        sentence(disk("info", "nbd://localhost:99999999/", code=2), "nbd://localhost:99999999/")
        code, _, err = run(["run", "--disk", nowhere, "--kernel", directory])
        check(code == 2, "exit code %d" % code, err)
        sentence(text(err), nowhere)
        code, _, err = run(["run", "--deterministic", "--disk", nowhere, "--kernel", directory])
        check(code == 2, "exit code %d" % code, err)
        sentence(text(err), "deterministic", nowhere)
        sentence(disk("info", nowhere, code=2, env={"GUISE_NBD": "/nowhere/guise-nbd"}), "libnbd-dev")
        sentence(disk("info", nowhere, code=2, env={"GUISE_NBD": "/bin/true"}), "ended at once")


# ---- hostile ones -------------------------------------------------------------------------------

OPTION, OPTION_REPLY = 0x49484156454F5054, 0x3E889045565A9
REQUEST, SIMPLE, STRUCTURED = 0x25609513, 0x67446698, 0x668E33EF
GO, STRUCTURED_REPLY = 7, 8
ACK, INFO, UNSUPPORTED = 1, 3, 0x80000001


class Fake:
    """A server in this process; `serve` has the connection and does with it what it likes."""

    def __init__(self, directory, serve):
        self.path = directory + "/fake"
        self.uri = "nbd+unix:///?socket=" + self.path
        self.serve = serve
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(4)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.socket.accept()[0]
                with connection, contextlib.suppress(OSError, struct.error):
                    self.serve(connection)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()
        os.unlink(self.path)


def receive(s, size):
    data = b""
    while len(data) < size:
        piece = s.recv(size - len(data))
        if not piece:
            raise OSError("the other side has ended")
        data += piece
    return data


def handshake(s, size=MIB, flags=1, blocks=None, structured=False):
    """The usual one, until requests follow."""
    s.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    receive(s, 4)
    while True:
        _, option, length = struct.unpack(">QII", receive(s, 16))
        receive(s, length)

        def reply(kind, data=b"", option=option):
            s.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)

        if option == GO:
            reply(INFO, struct.pack(">HQH", 0, size & (1 << 64) - 1, flags))
            if blocks:
                reply(INFO, struct.pack(">HIII", 3, *blocks))
            reply(ACK)
            return
        reply(ACK if structured and option == STRUCTURED_REPLY else UNSUPPORTED)


def requests(s):
    while True:
        yield struct.unpack(">IHHQQI", receive(s, 28))


def reads(answer, **how):
    """A server that shakes hands and gives answer(socket, cookie, length) for each request."""

    def serve(s):
        handshake(s, **how)
        for _, _, _, cookie, _, length in requests(s):
            answer(s, cookie, length)

    return serve


def simple(cookie, error=0, magic=SIMPLE):
    return struct.pack(">IIQ", magic, error, cookie)


def chunk(cookie, kind, data, flags=1, length=None):
    return struct.pack(">IHHQI", STRUCTURED, flags, kind, cookie,
                       len(data) if length is None else length) + data


def fill(s, cookie, length):
    s.sendall(simple(cookie) + b"y" * length)


def hang(s):
    while s.recv(65536):
        pass


GREETINGS = {
    "nothing": lambda s: None,
    "no magic": lambda s: s.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "half a magic": lambda s: s.sendall(b"NBDMAG"),
    "another version": lambda s: s.sendall(b"NBDMAGIC" + bytes(8)),
    "an end among options": lambda s: (s.sendall(b"NBDMAGICIHAVEOPT\0\3"), receive(s, 20)),
    "noise": lambda s: (s.sendall(os.urandom(100000)), hang(s)),
    "noise behind the magic": lambda s: (s.sendall(b"NBDMAGICIHAVEOPT\0\3" + os.urandom(100000)),
                                         hang(s)),
    "old style, huge": lambda s: (s.sendall(b"NBDMAGIC" + struct.pack(
        ">QQI", 0x420281861253, (1 << 64) - 1, 1) + bytes(124)), hang(s)),
    "a size of 2^64 - 1": reads(fill, size=(1 << 64) - 1),
    "a size of 2^63": reads(fill, size=1 << 63),
    "a size of 2^63 - 1": reads(fill, size=(1 << 63) - 1),
    "no bytes": reads(fill, size=0),
    "blocks of no power of two": reads(fill, blocks=(12345, 4096, 1 << 20)),
    "blocks larger than requests": reads(fill, blocks=(65536, 65536, 512)),
    "blocks of 2 GiB": reads(fill, blocks=(1 << 31, 1 << 31, 1 << 31)),
    "a size of no whole blocks": reads(fill, size=4096 + 512, blocks=(4096, 4096, 1 << 20)),
    "options that have no end": lambda s: (s.sendall(b"NBDMAGICIHAVEOPT\0\3"), s.sendall(
        struct.pack(">QIII", OPTION_REPLY, GO, INFO, 0xffffffff) + bytes(1 << 20)), hang(s)),
}

ANSWERS = {
    "an end": lambda s, cookie, length: s.close(),
    "half of an answer": lambda s, cookie, length: (s.sendall(simple(cookie) + b"y" * (length // 2)),
                                                    s.close()),
    "no magic": lambda s, cookie, length: s.sendall(simple(cookie, magic=0x12345678)),
    "an answer for nobody": lambda s, cookie, length: s.sendall(simple(cookie + 99)),
    "noise": lambda s, cookie, length: (s.sendall(os.urandom(1 << 20)), s.close()),
    "an error that there is not": lambda s, cookie, length: s.sendall(simple(cookie, 0xffffffff)),
    "zero as an error": lambda s, cookie, length: s.sendall(simple(cookie, 0x80000000)),
    "no answer": lambda s, cookie, length: None,
}

CHUNKS = {
    "data that lie beyond": lambda s, cookie, length: s.sendall(
        chunk(cookie, 1, struct.pack(">Q", 1 << 40) + b"y" * length)),
    "more data than were wanted": lambda s, cookie, length: s.sendall(
        chunk(cookie, 1, bytes(8) + b"y" * (length + 4096))),
    "a chunk of 4 GiB": lambda s, cookie, length: (s.sendall(
        chunk(cookie, 1, bytes(8) + b"y" * 4096, length=0xffffffff)), s.close()),
    "a hole of 4 GiB": lambda s, cookie, length: s.sendall(
        chunk(cookie, 2, struct.pack(">QI", 0, 0xffffffff))),
    "a kind that there is not": lambda s, cookie, length: s.sendall(chunk(cookie, 4711, bytes(32))),
    "an error with a text of no length": lambda s, cookie, length: s.sendall(
        chunk(cookie, 0x8001, struct.pack(">IH", 5, 0xffff))),
    "map entries for a read": lambda s, cookie, length: s.sendall(chunk(cookie, 5, bytes(12))),
}


def suffers(name, directory, serve, may_work=False):
    """guise copies from such a server, or says why not, in time."""
    out = directory + "/out"
    with Fake(directory, serve) as server:
        code, stdout, err = run(["disk", "convert", "--format", "raw", server.uri, out], 30,
                                env=dict(harness.environment(None), GUISE_NBD_SECONDS="1"))
    if may_work and code == 0:
        os.unlink(out)
        return
    lines = text(err).strip().splitlines()
    check(code == 2, "%s: exit code %d" % (name, code), stdout + err)
    check(1 <= len(lines) <= 2 and all(line.startswith("guise: ") for line in lines),
          "%s: %r" % (name, lines))
    check(b"guise-nbd" not in err, "%s: guise-nbd did not survive it" % name, err)
    check(not os.path.exists(out), "%s: half of a copy was left" % name)


def test_hostile_greetings():
    with scratch() as directory:
        for name, serve in GREETINGS.items():
            # libnbd forgets sizes of blocks that cannot be.
            suffers(name, directory, serve, may_work=name.startswith("blocks"))


def test_hostile_answers():
    with scratch() as directory:
        suffers("a good one", directory, reads(fill), may_work=True)
        for name, answer in ANSWERS.items():
            suffers(name, directory, reads(answer))
        for name, answer in CHUNKS.items():
            suffers(name, directory, reads(answer, structured=True))


def test_mute_greeting():
    """Nobody waits forever for a server that takes the connection and says nothing."""
    with scratch() as directory, Fake(directory, hang) as server:
        sentence(disk("info", server.uri, code=2, env={"GUISE_NBD_SECONDS": "1"}), "does not answer")


# Takes the place of guise-nbd: what it says first, and to each request.
HELPER = """#!%s
import socket, struct
s = socket.socket(fileno=3)
def hello(size, block=0, most=0, why=b""):
    return struct.pack("=256sQII4?4x", why, size, block, most, False, True, True, True)
def reply(slot=0, result=0, length=0, lost=False, why=b""):
    return struct.pack("=IiI??256s2x", slot, result, length, False, lost, why)
s.send(%s)
while s.recv(4096):
    s.send(%s)
"""


def test_hostile_helper():
    """A server that has taken guise-nbd over gets no further."""
    with scratch() as directory:
        helper = directory + "/helper"
        for hello, reply, works in (
                ("hello(1 << 20)", "reply()", True), ("hello(1 << 63)", "b''", False),
                ("hello(0)", "b''", False), ("hello(4096, 3)", "b''", False),
                ("hello(1 << 30, 1 << 20)", "b''", False), ("hello(4096, 4096, 512)", "b''", False),
                ("hello(1 << 20)[:-1]", "b''", False), ("hello(0, why=b'x' * 256)", "b''", False),
                ("hello(1 << 20)", "reply(slot=16)", False), ("hello(1 << 20)", "reply(slot=3)", False),
                ("hello(1 << 20)", "reply(slot=0xffffffff)", False),
                ("hello(1 << 20)", "reply(length=0xffffffff)", True),
                ("hello(1 << 20)", "reply(result=4711)", False),
                ("hello(1 << 20)", "reply(result=-0x80000000)", False),
                ("hello(1 << 20)", "reply()[:-1]", False),
                ("hello(0, why=b'%c[2J' % 27)", "b''", False),
                ("hello(1 << 20)", "reply(lost=True, why=b'y%c' % 27 * 128)", False)):
            write(helper, (HELPER % (sys.executable, hello, reply)).encode())
            os.chmod(helper, 0o700)
            out = directory + "/out"
            output = disk("convert", "nbd://host/", out, "--format", "raw", code=0 if works else 2,
                          env={"GUISE_NBD": helper})
            check((works or output.startswith("guise: ")) and "\x1b" not in output,
                  "%s, %s" % (hello, reply), output.encode())
            if works:
                os.unlink(out)


# ---- in a machine -------------------------------------------------------------------------------


def boot(*args):
    return Machine(["run", *linux("console=ttyS0 quiet"), *args])


def test_guest():
    """Two disks are read and written, one that is read-only is not."""
    with scratch() as directory, scratch() as other:
        image, fixed = directory + "/image", other + "/fixed"
        for path in (image, fixed):
            write(path, os.urandom(8 * MIB))
        with qemu_nbd(directory, "--discard=unmap", "-f", "raw", image) as server, \
                nbdkit(other, "-r", "file", fixed) as second, \
                boot("--disk", server.uri, "--disk", second.uri + ",readonly", "--stats") as m:
            m.login()
            check(m.shell("cat /sys/block/vda/size") == "16384\n", "sectors")
            check(m.shell("cat /sys/block/vdb/ro") == "1\n", "ro")
            m.shell("dd if=/dev/vdb of=/data bs=64k")
            m.shell("dd if=/data of=/dev/vda bs=64k conv=notrunc,fsync; sync")
            m.shell("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=4k | cmp - /data")
            check(contents(image) == contents(fixed), "what the guest has written and flushed")
            m.send(b"poweroff -f\n")
            m.end(0)


def lose(how, server, machine):
    if how == "killed":
        server.kill()
    elif how == "stopped":
        server.process.send_signal(signal.SIGSTOP)
    else:
        pids = run(["-P", str(machine.process.pid), "guise-nbd"], program=tool("pgrep"))[1].split()
        check(len(pids) == 1, "guise-nbd: %r" % pids)
        os.kill(int(pids[0]), signal.SIGKILL)


def test_guest_without_server():
    """A lost connection is a broken disk: errors, one line, and a machine that goes on."""
    for how in ("killed", "stopped", "without guise-nbd"):
        with scratch() as directory, nbdkit(directory, "memory", "64M") as server, \
                boot("--disk", server.uri) as m:
            m.login()
            m.shell("dd if=/dev/vda of=/dev/null bs=64k count=16")
            lose(how, server, m)
            m.shell("echo 3 > /proc/sys/vm/drop_caches")
            code, output = m.shell_code("dd if=/dev/vda of=/dev/null bs=64k count=64 skip=100")
            check(code != 0 and "error" in output, "no error: %r" % output)
            code, output = m.shell_code("dd if=/init of=/dev/vda bs=4k conv=fsync")
            check(code != 0 and "error" in output, "no error: %r" % output)
            m.shell("echo still here")
            m.send(b"poweroff -f\n")
            m.end(0)
            check(m.log.count(b"fails from now on") == 1, "one line", m.log)
            server.process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    exercise = os.path.abspath(sys.argv.pop(2))
    program = os.path.dirname(os.path.abspath(sys.argv[1])) + "/guise-nbd"
    if not os.path.exists(program):
        print("skipped: guise-nbd is not built: libnbd-dev is not installed")
        sys.exit(77)
    os.environ["GUISE_NBD"] = program
    os.environ["GUISE_NBD_SECONDS"] = str(int(5 * harness.FACTOR))
    harness.main(globals())
