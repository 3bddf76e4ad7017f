#!/usr/bin/env python3
"""Debian's kernel controlled from outside: the power button, pause, reset, cables, statistics, and two
clients at once; a deterministic run that was paused comes to the same state."""

import json
import os
import re
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Control, Machine, check, guest, linux, run, scratch, text

MODULES = "virtio_mmio,virtio_blk,virtio_net,virtio_input,evdev"
KEY = struct.Struct("<16xHHi")  # struct input_event of a 64-bit guest
PRESS = [(1, 116, 1), (0, 0, 0), (1, 116, 0), (0, 0, 0)]


def boot(directory, *args, modules=MODULES):
    initrd = guest("initramfs", "--modules", modules, "-o", directory + "/initramfs")
    return Machine(["run", *linux("console=ttyS0 quiet", initrd), "--control",
                    directory + "/control", *args], seconds=120)


def press_and_read(m, c):
    """The events that a press brings."""
    m.start("(dd if=/dev/input/event0 of=/events bs=24 count=4 2>/dev/null; echo >/read)")
    m.shell("sleep 1")
    c.call("power-button")
    m.shell("until [ -e /read ]; do sleep 0.1; done; rm /read")
    dump = m.shell("hexdump -v -e '1/1 \"%02x\"' /events").strip()
    return [KEY.unpack(raw) for raw in re.findall(b"(?s).{24}", bytes.fromhex(dump))]


def test_power_button():
    for bus in ("mmio", "pci"):
        with scratch() as directory, boot(directory, "--bus", bus) as m:
            m.login()
            c = Control(directory + "/control")
            devices = m.shell("cat /proc/bus/input/devices")
            check('Name="guise power button"' in devices, devices)
            check(press_and_read(m, c) == PRESS, "the events of a press")
            if bus == "mmio" or os.environ.get("GUISE_LONG"):
                c.call("reset")
                m.login()
                check(press_and_read(m, c) == PRESS, "the events of a press after a reset")
            m.shell("mkdir -p /etc/acpi/PWRF /var/log /var/run && printf '#!/bin/sh\\npoweroff -f\\n' "
                    ">/etc/acpi/PWRF/00000080 && chmod +x /etc/acpi/PWRF/00000080 && acpid && sleep 2")
            c.call("power-button")
            m.expect(rb"reboot: Power down")
            m.end(0)


def test_no_driver():
    with scratch() as directory, boot(directory, modules="virtio_mmio") as m:
        m.login()
        code, _, err = run(["ctl", directory + "/control", "power-button"])
        check(code == 1 and b"virtio_input" in err, "exit code %d" % code, err)


def instructions(c):
    return c.call("stats")["engine"]["instructions"]


def test_pause():
    with scratch() as directory, boot(directory, "--cpus", "2") as m:
        m.login()
        c = Control(directory + "/control")
        m.shell("while :; do :; done & true")
        first = instructions(c)
        harness.wait_until(lambda: instructions(c) > first, "the guest does not run")
        for _ in range(2):  # twice is as once
            c.call("pause")
        check(c.call("status")["state"] == "paused", "the state")
        before = (instructions(c), c.call("status")["guest_ns"])
        time.sleep(0.5)
        check((instructions(c), c.call("status")["guest_ns"]) == before, "it runs while paused")
        for _ in range(2):
            c.call("resume")
        check(c.call("status")["state"] == "running", "the state")
        harness.wait_until(lambda: instructions(c) > before[0], "it does not go on")
        m.shell("kill $!; sleep 1")  # a timer that is set and fires
        # What is typed meanwhile is not lost.
        c.call("pause")
        m.send(b"echo come''back\n")
        c.call("resume")
        m.expect(rb"comeback\r*\n")


def test_reset_and_quit_while_paused():
    with scratch() as directory, boot(directory) as m:
        m.login()
        c = Control(directory + "/control")
        c.call("pause")
        seen = instructions(c)
        c.call("reset")
        check(c.call("status")["state"] == "paused" and instructions(c) == seen,
              "the reset starts it")
        c.call("resume")
        m.login()
        c.call("reset")
        m.login()
        c.call("pause")
        c.call("quit")
        m.end(0)
        check(not os.path.exists(directory + "/control"), "the socket is still there")


def test_starts_paused():
    with scratch() as directory, boot(directory, "--paused") as m:
        harness.wait_until(lambda: os.path.exists(directory + "/control"), "no socket")
        c = Control(directory + "/control")
        check(c.call("status")["state"] == "paused" and instructions(c) == 0, "it runs")
        c.call("resume")
        m.login()
        check(instructions(c) > 0, "it does not count")


def test_two_clients():
    """Each does everything that a machine survives, without order between them."""
    wrong = []

    def client(path, commands):
        try:
            c = Control(path)
            for i in range(60):
                c.call(commands[i % len(commands)])
        except Exception as error:  # reported by the thread that waits
            wrong.append(error)

    with scratch() as directory, boot(directory, "--cpus", "2") as m:
        m.login()
        path = directory + "/control"
        m.shell("while :; do :; done & true")
        threads = [threading.Thread(target=client, args=(path, commands)) for commands in
                   (["pause", "stats", "resume"], ["resume", "status", "pause", "disks"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not wrong, "a client: %s" % wrong[:1])
        Control(path).call("resume")
        m.shell("kill $!")
        threads = [threading.Thread(target=client, args=(path, commands)) for commands in
                   (["pause", "reset", "resume"], ["reset", "resume"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not wrong, "a client: %s" % wrong[:1])
        Control(path).call("resume")
        m.login()


def test_link_and_statistics():
    with scratch() as directory:
        disk = directory + "/disk"
        with open(disk, "wb") as file:
            file.truncate(8 << 20)
        with boot(directory, "--disk", disk + ",format=raw", "--net",
                  "switch=%s/switch" % directory) as m:
            m.login()
            c = Control(directory + "/control")
            m.shell("ip link set eth0 up")
            for state in ("down", "up", "down", "up"):
                code, _, err = run(["ctl", directory + "/control", "link", "net0", state])
                check(code == 0, "link", err)
                m.shell("until [ $(cat /sys/class/net/eth0/carrier) = %d ]; do sleep 0.1; done"
                        % (state == "up"))
                check(c.call("nets")["nets"][0]["link"] == state, "what nets says")
            check(c.call("disks")["disks"] == [{"disk": "disk0", "file": disk, "format": "raw",
                                                "size": 8 << 20, "readonly": False}], "disks")
            before = c.call("stats")["disks"][0]
            m.shell("dd if=/dev/urandom of=/dev/vda bs=1M count=3 conv=fsync 2>/dev/null")
            m.shell("echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=1M count=2 "
                    "2>/dev/null")
            after = c.call("stats")["disks"][0]
            check(after["write_bytes"] - before["write_bytes"] == 3 << 20, "%r" % after)
            check(after["read_bytes"] - before["read_bytes"] >= 2 << 20, "%r" % after)
            check(after["flushes"] > before["flushes"] and after["errors"] == 0, "%r" % after)
            m.shell("ip addr add 10.9.9.1/24 dev eth0; arping -c 3 -w 5 -I eth0 10.9.9.2 || true")
            code, out, _ = run(["ctl", directory + "/control", "stats"])
            sent = re.search(rb"nets\[0\]\.tx_frames +(\d+)", out)
            check(code == 0 and sent and int(sent.group(1)) > 0, "no frame was sent", out)


def test_deterministic():
    """Pauses leave no trace in a run that can be repeated."""
    with scratch() as directory:
        words = ["run", *linux("console=ttyS0"), "--deterministic", "--run-for", "400000000",
                 "--stats", "--cpus", "2"]

        def state(err):
            found = re.search(rb"state hash +([0-9a-f]{16})", err)
            check(found, "no hash", err)
            return found.group(1)

        code, out, err = run([*words, "--console", "file:%s/a" % directory], seconds=120)
        check(code == 0, "exit code %d" % code, out + err)
        wanted = state(err)
        pauses = 0
        with Machine([*words, "--console", "file:%s/b" % directory, "--paused", "--control",
                      directory + "/control"], seconds=120) as m:
            harness.wait_until(lambda: os.path.exists(directory + "/control"), "no socket")
            c = Control(directory + "/control")
            try:
                while True:
                    c.call("resume")
                    time.sleep(0.01)
                    c.call("pause")
                    pauses += 1
                    c.call("stats")
                    c.call("status")
            except (OSError, EOFError):
                pass
            m.end(0)
            check(pauses > 0 and state(m.log) == wanted, "%d pauses changed the state" % pauses)
        with open(directory + "/a", "rb") as a, open(directory + "/b", "rb") as b:
            check(a.read() == b.read(), "the console")


if __name__ == "__main__":
    harness.main(globals())
