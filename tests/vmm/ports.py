#!/usr/bin/env python3
"""Debian's kernel with named ports (virtio_console): both ways over a socket, much data, clients that
come and go, files, a reboot. Confined, as machines are by default."""

import hashlib
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import FACTOR, Machine, check, guest, linux, run, scratch, text, wait_until

SIZE = 4 << 20
AGENT = "org.qemu.guest_agent.0"
MODULES = "virtio_mmio,virtio_pci,virtio_console"


def boot(directory, *args, added=()):
    ports = [word for name, spec in ((AGENT, "unix:" + directory + "/agent"),
                                     ("log", "file:" + directory + "/log"),
                                     ("second", "unix:" + directory + "/second"))
             for word in ("--port", spec + ",name=" + name)]
    initrd = guest("initramfs", "--modules", MODULES, *added, "-o", directory + "/initramfs")
    return Machine(["run", *linux("console=ttyS0 quiet", initrd), *ports, *args], seconds=120)


# As udev does it in a guest that has it.
LINKS = ("mkdir -p /dev/virtio-ports; for p in /sys/class/virtio-ports/*; do "
         "ln -sf /dev/${p##*/} /dev/virtio-ports/$(cat $p/name); done")


def start(m):
    m.login()
    for _ in range(50):
        if m.shell("ls /sys/class/virtio-ports | wc -l").strip() == "3":
            break
        time.sleep(0.1)
    m.shell(LINKS)
    names = m.shell("ls /dev/virtio-ports").split()
    check(sorted(names) == ["log", AGENT, "second"], "the guest's ports: %r" % names)


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60 * FACTOR)
    s.connect(path)
    return s


def receive(s, count):
    data = b""
    while len(data) < count:
        part = s.recv(min(65536, count - len(data)))
        check(part, "the connection has ended after %d bytes" % len(data))
        data += part
    return data


def echo(directory, m, data):
    """The guest sends back what it gets."""
    s = connect(directory + "/agent")
    m.start("(head -c %d > /tmp/in; cat /tmp/in >&0) <> /dev/virtio-ports/%s" % (len(data), AGENT))
    s.sendall(data)
    back = receive(s, len(data))
    check(hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), "what comes back differs")
    s.close()


def off(m):
    m.send(b"poweroff -f\n")
    m.end(0)


def both_ways(bus):
    with scratch() as directory, boot(directory, "--bus", bus, "--cpus", "2") as m:
        start(m)
        echo(directory, m, b"hello")
        echo(directory, m, os.urandom(SIZE))
        echo(directory, m, b"again")
        m.shell("echo to the file > /dev/virtio-ports/log")
        off(m)
        with open(directory + "/log", "rb") as file:
            check(file.read() == b"to the file\n", "what is in the file")
        for name in "agent", "second":
            check(not os.path.exists(directory + "/" + name), "the socket %s is left" % name)


def test_both_ways():
    both_ways("mmio")


def test_pci():
    both_ways("pci")


def test_clients():
    """What the guest sees of clients, and they of each other."""
    with scratch() as directory, boot(directory) as m:
        start(m)
        port = "/dev/virtio-ports/" + AGENT
        check(m.shell("timeout 5 cat %s; echo over" % port).split() == ["over"],
              "no end of file where nobody is connected")
        # A reader has what a client wrote that has left, and then the end of file.
        s = connect(directory + "/second")
        m.start("(cat /dev/virtio-ports/second > /tmp/got; echo done >> /tmp/got)")
        s.sendall(b"last words\n")
        wait_until(lambda: "last words" in m.shell("cat /tmp/got"), "nothing came")
        s.close()
        wait_until(lambda: "done" in m.shell("cat /tmp/got"), "no end after the client has left")
        # What nobody in the guest has heard is not for the next one's ears.
        s = connect(directory + "/agent")
        s.sendall(b"unheard\n")
        s.close()
        time.sleep(0.3 * FACTOR)
        s = connect(directory + "/agent")
        m.start("head -n 1 < %s > /tmp/heard" % port)
        time.sleep(0.5 * FACTOR)
        s.sendall(b"heard\n")
        wait_until(lambda: m.shell("cat /tmp/heard").strip(), "nothing came")
        check(m.shell("cat /tmp/heard").strip() == "heard", "a client's words reach another's reader")
        # A second one waits for the first to leave.
        other = connect(directory + "/agent")
        other.sendall(b"x")
        m.shell("echo for the first > %s" % port)
        check(receive(s, 14) == b"for the first\n", "the first client")
        s.close()
        m.shell("sleep 1; echo for the second > %s" % port)
        check(receive(other, 15) == b"for the second\n", "the second client")
        other.close()
        off(m)


def test_slow_reader():
    """A client that does not read stops who writes when the queue is full: 128 times 32 KiB."""
    with scratch() as directory, boot(directory) as m:
        start(m)
        s = connect(directory + "/agent")
        m.shell("dd if=/dev/urandom of=/tmp/data bs=64k count=96 2>/dev/null")
        m.start("(dd if=/tmp/data of=/dev/virtio-ports/%s bs=32k 2>/dev/null; echo done > /tmp/done)"
                % AGENT)
        time.sleep(2 * FACTOR)
        check(m.shell_code("test -e /tmp/done")[0], "6 MB went where nobody reads")
        got = hashlib.sha256(receive(s, 96 << 16)).hexdigest()
        check(m.shell("sha256sum < /tmp/data").split()[0] == got, "what came is not what was sent")
        off(m)


def ask(directory, command):
    """The agent's answer to a client that says one thing and then listens only."""
    s = connect(directory + "/agent")
    s.sendall(json.dumps({"execute": command}).encode() + b"\n")
    s.shutdown(socket.SHUT_WR)
    answer = s.makefile("rb").readline()
    s.close()
    return json.loads(answer)["return"]


def test_agent():
    """The agent that looks for such a port."""
    tree = guest("tree", "agent", "riscv64", "qemu-guest-agent")
    added = harness.with_libraries(tree, "qemu-ga", "/usr/sbin/qemu-ga")
    with scratch() as directory, boot(directory, added=added) as m:
        start(m)
        m.shell("mkdir -p /run; (qemu-ga -p /dev/virtio-ports/%s -t /run > /tmp/ga 2>&1 &)" % AGENT)
        for _ in range(3):
            check(ask(directory, "guest-ping") == {}, "guest-ping")
            check(ask(directory, "guest-get-osinfo")["machine"] == "riscv64", "guest-get-osinfo")
        off(m)


def test_reboot():
    with scratch() as directory, boot(directory) as m:
        start(m)
        s = connect(directory + "/second")
        m.shell("echo before > /dev/virtio-ports/second")
        check(receive(s, 7) == b"before\n", "before the reboot")
        m.send(b"reboot -f\n")
        start(m)
        m.shell("echo after > /dev/virtio-ports/second")
        check(receive(s, 6) == b"after\n", "the client that stayed over the reboot")
        s.close()
        echo(directory, m, b"after the reboot")
        m.process.kill()
        m.process.wait()
        if not harness.sanitized(harness.guise):  # which has nobody who would survive it
            wait_until(lambda: not os.path.exists(directory + "/agent"),
                       "the socket of a killed machine is left")


def test_console():
    """The serial port at a socket."""
    with scratch() as directory:
        done = []
        initrd = guest("initramfs")
        runner = threading.Thread(target=lambda: done.append(run(
            ["run", *linux("console=ttyS0 quiet", initrd), "--console",
             "unix:" + directory + "/tty"], seconds=120)))
        runner.start()
        wait_until(lambda: os.path.exists(directory + "/tty"), "no socket")
        s = connect(directory + "/tty")
        got = b""
        while not got.endswith(b"# "):
            got += receive(s, 1)
        s.sendall(b"poweroff -f\n")
        runner.join()
        code, _, err = done[0]
        check(code == 0 and not os.path.exists(directory + "/tty"), "code %d" % code, err)


def test_taken():
    with scratch() as directory:
        taken = socket.socket(socket.AF_UNIX)
        taken.bind(directory + "/p")
        taken.listen()
        code, _, err = run(["run", *linux(), "--port", "unix:" + directory + "/p,name=x"])
        check(code == 2 and "listens" in text(err) and text(err).count("\n") == 1,
              "code %d" % code, err)
        taken.close()


if __name__ == "__main__":
    harness.main(globals())
