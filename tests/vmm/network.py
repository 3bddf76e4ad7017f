#!/usr/bin/env python3
"""Debian's kernel with a network card: an address by DHCP, files over TCP in both directions through
the NAT, through forwarded ports, through a switch to another machine and through a tap device; a
cable that is pulled with its machine saved and loaded."""

import contextlib
import glob
import hashlib
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import FACTOR, Machine, Skip, check, guest, linux, run, scratch

HERE = os.path.dirname(os.path.realpath(__file__))
SIZE = 3 << 20


def boot(directory, *args):
    initrd = guest("initramfs", "--init", HERE + "/network.init", "--modules",
                   "virtio_mmio,virtio_net,af_packet", "-o", directory + "/initramfs")
    return Machine(["run", *linux("console=ttyS0 quiet", initrd), *args], seconds=120)


def need_nat():
    if not os.path.exists(os.path.dirname(harness.guise) + "/guise-net"):
        raise Skip("guise-net is not built: libslirp-dev is not installed")


@contextlib.contextmanager
def server():
    """A web server on the host's loopback: (port, digest of /file)."""
    content = os.urandom(SIZE)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *unused):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        try:
            yield web.server_address[1], hashlib.md5(content).hexdigest()
        finally:
            web.shutdown()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def dhcp(m):
    m.shell("ip link set eth0 up")
    m.shell("udhcpc -i eth0 -n -q -s /bin/dhcp")


def digest(m, path):
    return m.shell("md5sum " + path).split()[0]


def serve(m):
    """A web server in the guest, at port 8080, with a file of 3000 KiB."""
    m.shell("dd if=/dev/urandom of=/file bs=1024 count=3000 2>/dev/null")
    m.shell("httpd -p 8080 -h /")


# What fetches a guest's file from the host: prints its digest.
CLIENT = """
import hashlib, sys, urllib.request
with urllib.request.urlopen(sys.argv[1] + "/file", timeout=%d) as answer:
    print(hashlib.md5(answer.read()).hexdigest())
""" % (60 * FACTOR)


def fetch(where, *prefix):
    done = subprocess.run([*prefix, sys.executable, "-c", CLIENT, "http://" + where], check=False,
                          text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def test_nat():
    need_nat()
    with scratch() as directory, server() as (port, content), boot(
            directory, "--net", "user,host,hostfwd=tcp:%d-:8080" % (forward := free_port())) as m:
        m.login()
        dhcp(m)
        check("10.0.2.15/24" in m.shell("ip addr show eth0"), "no address")
        check("10.0.2.3" in m.shell("cat /etc/resolv.conf"), "no name server")
        check("mtu 65520" in m.shell("ip link show eth0"), "no MTU")
        m.shell("ping -c 1 10.0.2.2")
        # From the host to the guest.
        m.shell("wget -q -O /file http://10.0.2.2:%d/file" % port)
        check(digest(m, "/file") == content, "the file has changed on its way into the guest")
        # Through the forwarded port.
        serve(m)
        check(fetch("127.0.0.1:%d" % forward) == digest(m, "/file"), "what came from the guest")
        m.send(b"poweroff -f\n")
        m.end(0)


def nat_process(m):
    """The pid of the guise-net that a machine has started, if it lives."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            name, rest = file.read().rsplit(")", 1)
            if name.endswith("(guise-net") and rest.split()[0] != "Z" and \
                    int(rest.split()[1]) == m.process.pid:
                found.append(int(path.split("/")[2]))
    check(len(found) == 1, "guise-net: %r" % found)
    return found[0]


def test_server_resets():
    """A server that has enough resets one connection, and no other one is touched."""
    need_nat()
    with socket.create_server(("127.0.0.1", 0)) as listener, scratch() as directory, boot(
            directory, "--net", "user,host") as m:
        def serve_and_reset():
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as s:
                        for _ in range(100):
                            s.recv(65536)  # what comes after it is never read

        for _ in range(4):
            threading.Thread(target=serve_and_reset, daemon=True).start()
        m.login()
        dhcp(m)
        before = nat_process(m)
        m.shell("for i in 1 2 3 4 5 6 7 8; do for j in 1 2 3 4; do "
                "nc 10.0.2.2 %d </dev/zero >/dev/null 2>&1 & done; wait; done" %
                listener.getsockname()[1])
        check(nat_process(m) == before, "guise-net has died and was started again")
        m.send(b"poweroff -f\n")
        m.end(0)


def test_out_of_reach():
    """What is not given: the host's loopback, and with restrict everything."""
    need_nat()
    with scratch() as directory, server() as (port, _), boot(
            directory, "--net", "user", "--net", "user,restrict,host") as m:
        m.login()
        for card in ("eth0", "eth1"):
            m.shell("ip link set %s up; udhcpc -i %s -n -q -s /bin/dhcp" % (card, card))
            code, output = m.shell_code("wget -T 3 -q -O - http://10.0.2.2:%d/file | wc -c" % port)
            check("\n0\n" in "\n" + output.replace("\r", ""), "the guest reached the host: " + output)
            m.shell("ip link set %s down; ip addr flush dev %s" % (card, card))
        m.send(b"poweroff -f\n")
        m.end(0)


def test_offloads_off():
    """A driver that does everything itself gets the same bytes."""
    need_nat()
    with scratch() as directory, server() as (port, content), boot(
            directory, "--net", "user,host,mtu=1500") as m:
        m.login()
        m.shell("rmmod virtio_net; modprobe virtio_net csum=0 gso=0")
        dhcp(m)
        check("mtu 1500" in m.shell("ip link show eth0"), "the MTU")
        m.shell("wget -q -O /file http://10.0.2.2:%d/file" % port)
        check(digest(m, "/file") == content, "the file has changed on its way into the guest")
        m.send(b"poweroff -f\n")
        m.end(0)


def test_switch():
    """Two machines on one switch: long TCP segments go from one to the other."""
    with scratch() as directory:
        path = "switch=%s/socket" % directory
        with boot(directory, "--net", path) as a, boot(
                directory, "--net", path + ",pcap=%s/capture" % directory) as b:
            for m, address in ((a, "192.168.7.1"), (b, "192.168.7.2")):
                m.login()
                m.shell("ip addr add %s/24 dev eth0; ip link set eth0 up" % address)
            b.shell("ping -c 2 192.168.7.1")
            serve(a)
            b.shell("wget -q -O /file http://192.168.7.1:8080/file")
            check(digest(a, "/file") == digest(b, "/file"), "the file has changed on its way")
            # The hub's machine ends: the other sees its cable pulled, and put in again.
            a.send(b"poweroff -f\n")
            a.end(0)
            b.shell("for i in 1 2 3 4 5 6 7 8 9; do grep -q 1 /sys/class/net/eth0/carrier && break; "
                    "sleep 1; done; grep 1 /sys/class/net/eth0/carrier")
            check(int(b.shell("cat /sys/class/net/eth0/carrier_changes")) >= 4, "carrier changes")
            b.send(b"poweroff -f\n")
            b.end(0)
        check(os.path.getsize(directory + "/capture") > 3000 * 1024, "the capture is too short")


def test_tap():
    """Through both queues of a tap device to the host's own network stack, in a namespace of its own."""
    ip = harness.tool("ip")
    if subprocess.run(["unshare", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        raise Skip("no network namespace can be made here")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise Skip("/dev/net/tun cannot be opened")
    with scratch() as directory:
        # A confined machine is in no network itself: somebody else stays in that of the tap device.
        holder = directory + "/holder"
        script = ("sleep 900 <&- >&- 2>&- & echo $! >" + holder + "; ip tuntap add mode tap "
                  "name guise0 vnet_hdr multi_queue && ip addr add 192.168.9.1/24 dev guise0 "
                  "&& ip link set guise0 up && ip link set lo up && exec \"$@\"")
        initrd = guest("initramfs", "--init", HERE + "/network.init", "--modules",
                       "virtio_pci,virtio_net,af_packet", "-o", directory + "/initramfs")
        words = harness.command(None, ["run", *linux("console=ttyS0 quiet", initrd),
                                       "--cpus", "2", "--bus", "pci", "--irqchip", "aia",
                                       "--net", "tap,ifname=guise0,queues=2"])
        with Machine(["-n", "sh", "-c", script, ip, *words], program="unshare", seconds=120) as m:
            m.login()
            m.shell("ip addr add 192.168.9.2/24 dev eth0; ip link set eth0 up")
            check("rx-1" in m.shell("ls /sys/class/net/eth0/queues"), "there is one queue")
            for hart in (1, 2):
                m.shell("taskset %d ping -c 2 192.168.9.1" % hart)
            interrupts = m.shell("grep 'virtio.*-input' /proc/interrupts")
            # The host answers on the queue that a flow came from.
            check(len(re.findall(r" [1-9]\d* .*input\.[01]", interrupts)) == 2,
                  "not both queues were used: %s" % interrupts)
            serve(m)
            with open(holder, encoding="ascii") as file:
                pid = int(file.read())
            found = fetch("192.168.9.2:8080", "nsenter", "-n", "-t", str(pid))
            os.kill(pid, signal.SIGTERM)
            check(found == digest(m, "/file"), "the host got %r" % found)
            m.send(b"poweroff -f\n")
            m.end(0)


def test_deterministic():
    """Nothing from outside in a run that can be repeated; a card without a cable can be there."""
    with scratch() as directory:
        def part(until, *more):
            return run(["run", *linux("console=ttyS0"), "--deterministic", "--stats", "--console",
                        "none", "--run-for", "%d" % until, *more], seconds=120)

        code, _, err = part(200000000, "--net", "user")
        check(code == 2 and b"deterministic" in err, "exit code %d" % code, err)
        state = directory + "/state"
        code, _, err = part(200000000, "--net", "none", "--save", state)
        check(code == 0, "exit code %d" % code, err)
        hashes = []
        for more in ([], ["--load", state]):
            err = part(250000000, "--net", "none", *more)[2]
            found = re.search(rb"state hash +(\w+)", err)
            check(found, "no hash", err)
            hashes.append(found.group(1))
        check(hashes[0] == hashes[1], "loaded and unbroken differ: %r" % hashes)


if __name__ == "__main__":
    harness.main(globals())
