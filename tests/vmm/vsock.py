#!/usr/bin/env python3
"""Debian's kernel and socat at one end of vsock, Unix sockets of the host at the other, as
Firecracker names them: both ways to connect, much data, many connections, ends and refusals."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import FACTOR, Machine, check, guest, linux, run, scratch, text

SIZE = 8 << 20 if harness.engine != "interp" else 1 << 20
MODULES = "virtio_mmio,virtio_pci,vmw_vsock_virtio_transport"


def initramfs(directory):
    tree = guest("tree", "vsock", "riscv64", "socat")
    added = harness.with_libraries(tree, "socat", "/usr/bin/socat1")
    return guest("initramfs", "--modules", MODULES, *added, "-o", directory + "/initramfs")


def boot(directory, *args):
    return Machine(["run", *linux("console=ttyS0 quiet", initramfs(directory)), "--vsock",
                    directory + "/v", *args], seconds=120)


def off(m):
    m.send(b"poweroff -f\n")
    m.end(0)


def unix(path, listen=False):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60 * FACTOR)
    if listen:
        s.bind(path)
        s.listen()
    else:
        s.connect(path)
    return s


def receive(s, most=None):
    """All until the other side ends, or `most` bytes."""
    parts, left = [], most
    while left is None or left:
        data = s.recv(65536 if left is None else min(left, 65536))
        if not data:
            break
        parts.append(data)
        left = None if left is None else left - len(data)
    return b"".join(parts)


def line(s):
    out = b""
    while not out.endswith(b"\n"):
        byte = s.recv(1)
        check(byte, "the connection has ended in the line", out)
        out += byte
    return out


def to_guest(directory, port):
    s = unix(directory + "/v")
    s.sendall(b"CONNECT %d\n" % port)
    check(line(s).startswith(b"OK "), "no OK")
    return s


def serve(m, directory, port, what):
    """A server in the guest; waits until it listens."""
    m.shell("(socat -b 65536 VSOCK-LISTEN:%d,fork,backlog=64 %s >/dev/null 2>&1 &)" % (port, what))
    for _ in range(100):
        s = unix(directory + "/v")
        s.sendall(b"CONNECT %d\n" % port)
        if receive(s, 3) == b"OK ":
            return
        time.sleep(0.1 * FACTOR)
    check(False, "no server at port %d in the guest" % port)


def echo(directory, data):
    s = to_guest(directory, 1000)

    def feed():
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)

    feeder = threading.Thread(target=feed)
    feeder.start()
    back = receive(s)
    feeder.join()
    check(back == data, "%d bytes came back of %d" % (len(back), len(data)))


def many(directory, count):
    wrong = []

    def one(number):
        try:
            echo(directory, hashlib.sha256(b"%d" % number).digest() * 5000)
        except (harness.Failure, OSError) as error:
            wrong.append("%d: %s" % (number, error))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, "connections that failed", "\n".join(wrong).encode())


def test_from_host():
    for bus in "mmio", "pci":
        with scratch() as directory, boot(directory, "--bus", bus, "--cpus", "2") as m:
            m.login()
            serve(m, directory, 1000, "EXEC:cat")
            echo(directory, b"hello")
            echo(directory, os.urandom(SIZE))
            many(directory, 30)
            s = unix(directory + "/v")
            s.sendall(b"CONNECT 4321\n")
            check(receive(s) == b"", "a port at which nobody listens answers")
            off(m)
            check(not os.path.exists(directory + "/v"), "the socket is left")


def test_from_guest():
    with scratch() as directory, boot(directory) as m:
        m.login()
        listener = unix(directory + "/v_77", listen=True)
        m.shell("dd if=/dev/urandom of=/tmp/data bs=64k count=%d 2>/dev/null" % (SIZE >> 16))
        got = []
        taker = threading.Thread(target=lambda: got.append(receive(listener.accept()[0])))
        taker.start()
        m.shell("socat -u -b 65536 OPEN:/tmp/data VSOCK-CONNECT:2:77")
        taker.join()
        want = m.shell("sha256sum < /tmp/data").split()[0]
        check(got and hashlib.sha256(got[0]).hexdigest() == want, "what came is not what was sent")
        code, out = m.shell_code("socat - VSOCK-CONNECT:2:78 </dev/null")
        check(code and "reset" in out.lower(), "no end of a connection to nobody", out.encode())
        off(m)


def test_slow_reader():
    """Who does not read stops who writes, and nothing is lost."""
    with scratch() as directory, boot(directory) as m:
        m.login()
        serve(m, directory, 1000, "SYSTEM:'yes | head -c 3000000 && echo done > /tmp/done'")
        s = to_guest(directory, 1000)
        time.sleep(2 * FACTOR)
        check(m.shell_code("test -e /tmp/done")[0], "3 MB went where nobody reads")
        got = receive(s)
        check(got == b"y\n" * 1500000, "%d bytes came" % len(got))
        off(m)


def test_ends():
    with scratch() as directory, boot(directory) as m:
        m.login()
        serve(m, directory, 1000, "EXEC:cat")
        s = to_guest(directory, 1000)
        m.shell("killall -9 socat cat; sleep 1")
        check(receive(s) == b"", "a connection outlives the guest's program")
        serve(m, directory, 1001, "EXEC:cat")
        s = to_guest(directory, 1001)
        m.send(b"reboot -f\n")
        check(receive(s) == b"", "a connection outlives the guest")
        m.login()
        serve(m, directory, 1000, "EXEC:cat")
        echo(directory, b"after the reboot")
        m.process.kill()
        m.process.wait()
        if harness.sanitized(harness.guise):
            return  # it is not confined, and has nobody who would survive it
        deadline = time.monotonic() + 10 * FACTOR
        while os.path.exists(directory + "/v") and time.monotonic() < deadline:
            time.sleep(0.1)
        check(not os.path.exists(directory + "/v"), "the socket of a killed machine is left")


def test_taken():
    with scratch() as directory:
        taken = unix(directory + "/v", listen=True)
        for value, words in ((directory + "/v", "listens"), ("v,cid=1", "cid: '1'"),
                             ("/no/v", "/no/v"), ("x" * 100, "bytes")):
            code, _, err = run(["run", *linux(), "--vsock", value])
            check(code == 2 and words in text(err) and text(err).count("\n") == 1,
                  "--vsock %s: code %d" % (value, code), err)
        taken.close()


if __name__ == "__main__":
    harness.main(globals())
