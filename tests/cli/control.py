#!/usr/bin/env python3
"""Control sockets: names, hostile clients (which must not hurt the machine or the other clients), `guise
ctl` and `guise ps`."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import stat
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Control, Machine, check, run, scratch, seed, text

LOOP = b"\x6f\x00\x00\x00"  # j .
LINE_MAX = 16384


@contextlib.contextmanager
def machine(directory, *args):
    """A guest that does nothing, once it can be reached."""
    with open(directory + "/loop", "wb") as file:
        file.write(LOOP)
    harness.runtime = directory
    with Machine(["run", "--firmware", directory + "/loop", "--console", "none", *args]) as m:
        yield m


def at(directory, name="box"):
    return "%s/guise/%s.sock" % (directory, name)


def reach(path):
    def connects():
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            return True
        return False

    harness.wait_until(connects, "no machine at " + path)
    return Control(path)


def refused(answer, code):
    check(not answer["ok"] and answer["error"]["code"] == code and answer["protocol"] == 1 and
          answer["error"]["message"] and "result" not in answer, "%s: %r" % (code, answer))


def test_protocol():
    with scratch() as directory, machine(directory, "--name", "box", "--net", "none") as m:
        c = reach(at(directory))
        mode = os.stat(at(directory)).st_mode
        check(stat.S_IMODE(mode) == 0o600, "others may connect: %o" % mode)
        check(stat.S_IMODE(os.stat(directory + "/guise").st_mode) == 0o700, "the directory")
        status = c.call("status")
        check(status["name"] == "box" and status["pid"] == m.process.pid and status["cpus"] == 1 and
              status["memory"] == 256 << 20 and status["state"] == "running", "%r" % status)
        for identity in (7, "seven", -1):
            c.send(json.dumps({"id": identity, "command": "nets", "protocol": 1}).encode() + b"\n")
            check(c.answer()["id"] == identity, "the id")
        for line, code in ((b"", "bad-request"), (b"nonsense", "bad-request"), (b"[]", "bad-request"),
                           (b'"status"', "bad-request"), (b"{}", "bad-request"),
                           (b'{"command": 1}', "bad-request"), (b'{"command": null}', "bad-request"),
                           (b'{"command": "status", "id": []}', "bad-request"),
                           (b'{"command": "status", "more": 1}', "bad-request"),
                           (b'{"command": "status", "command": "quit"}', "bad-request"),
                           (b'{"command": "status"} {"command": "quit"}', "bad-request"),
                           (b'{"command": "sta\\u0000tus"}', "bad-request"),
                           (b'{"command": "\xff"}', "bad-request"),
                           (b"\0" * 50, "bad-request"), (b"[" * 10000, "bad-request"),
                           (b'{"a":' * 3000, "bad-request"),
                           (b'{"command": "status", "protocol": 2}', "unknown-protocol"),
                           (b'{"command": "dance"}', "unknown-command"),
                           (b'{"command": "%s"}' % (b"x" * 9000), "unknown-command"),
                           (b'{"command": "' + b"\xc3\xa4" * 3000 + b'"}', "unknown-command"),
                           (b'{"command": "status", "arguments": {"a": 1}}', "bad-argument"),
                           (b'{"command": "link", "arguments": {"net": "net0"}}', "bad-argument"),
                           (b'{"command": "link", "arguments": {"net": 0, "state": "up"}}',
                            "bad-argument"),
                           (b'{"command": "link", "arguments": {"net": "net0", "state": "u"}}',
                            "bad-argument"),
                           (b'{"command": "link", "arguments": {"net": "net0", "state": "up|down"}}',
                            "bad-argument"),
                           (b'{"command": "link", "arguments": {"net": "net1", "state": "up"}}',
                            "failed"),
                           (b'{"command": "link", "arguments": {"net": "net00x", "state": "up"}}',
                            "failed"),
                           (b'{"command": "power-button"}', "failed")):
            c.send(line + b"\n")
            refused(c.answer(), code)
        check(c.call("status")["state"] == "running", "the machine")
        names = [one["name"] for one in c.call("commands")["commands"]]
        check(names[:3] == ["status", "pause", "resume"], "%r" % names)
        c.call("quit")
        m.end(0)
        check(not os.path.exists(at(directory)), "the socket is still there")


def test_hostile_clients():
    rng = random.Random(seed())
    with scratch() as directory, machine(directory, "--name", "box") as m:
        good = reach(at(directory))

        def client():
            return Control(at(directory))

        # A line without an end.
        c = client()
        with contextlib.suppress(OSError):
            for _ in range(100):
                c.send(b"x" * 65536)
        refused(c.answer(), "bad-request")
        good.call("status")
        # The longest that is allowed, byte by byte at its end.
        c = client()
        c.send(b'{"command": "status", "id": "' + b"i" * (LINE_MAX - 40))
        for byte in b'"}\n':
            c.send(bytes([byte]))
        check(c.answer()["ok"], "a long request")
        # Many at once, and no more said: all are answered in their order.
        c = client()
        c.send(b"".join(b'{"command":"nets","id":%d}\n' % i for i in range(1000)))
        c.socket.shutdown(socket.SHUT_WR)
        check([c.answer()["id"] for _ in range(1000)] == list(range(1000)), "their order")
        check(c.lines.readline() == b"", "it is not closed after the last")
        # One that asks and asks and does not read: others are served, and its memory is bounded.
        c = client()
        c.socket.setblocking(False)
        request = b'{"command": "commands"}\n' * 100
        with contextlib.suppress(BlockingIOError):
            for _ in range(1000):
                c.socket.send(request)
        for _ in range(20):
            good.call("stats")
        with open("/proc/%d/statm" % m.process.pid, encoding="ascii") as file:
            check(int(file.read().split()[1]) * 4096 < 256 << 20, "memory")
        c.socket.close()
        # Part of a line, then gone.
        c = client()
        c.send(b'{"command": "quit"}')
        c.socket.close()
        # More clients than it takes, of which those too many are told so.
        crowd = []
        answer = None
        for _ in range(30):
            crowd.append(client())
            crowd[-1].socket.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                answer = crowd[-1].answer()
                break
        check(answer, "so many clients are served")
        refused(answer, "busy")
        good.call("status")
        for c in crowd:
            c.socket.close()
            c.lines.close()
        del crowd, c
        harness.wait_until(lambda: client().ask("status")["ok"], "no room comes back")
        # Noise.
        for _ in range(50):
            c = client()
            words = [b"{", b"}", b"[", b'"', b"\n", b":", b",", b"command", b'"status"', b"\\u0000",
                     b"\xff", b"1e999", b"-", b"null", bytes([rng.randrange(256)])]
            c.send(b"".join(rng.choice(words) for _ in range(rng.randrange(400))))
            c.socket.close()
        check(good.call("status")["state"] == "running", "the machine")
        good.call("quit")
        m.end(0)


def instructions(c):
    return c.call("stats")["engine"]["instructions"]


def wait_for_progress(c):
    before = instructions(c)
    harness.wait_until(lambda: instructions(c) > before, "it does not run")


def test_states():
    """Pause, resume, reset and quit, in every order that could matter."""
    with scratch() as directory:
        with machine(directory, "--name", "box", "--cpus", "2", "--paused") as m:
            c = reach(at(directory))
            check(c.call("status")["state"] == "paused" and instructions(c) == 0 and
                  c.call("status")["guest_ns"] == 0, "it has started")
            c.call("reset")
            check(c.call("status")["state"] == "paused" and instructions(c) == 0, "a reset starts it")
            for _ in range(5):
                c.call("resume")
                c.call("resume")
                wait_for_progress(c)
                c.call("pause")
                seen = (instructions(c), c.call("status")["guest_ns"])
                c.call("reset")
                c.call("pause")
                time.sleep(0.05)
                check((instructions(c), c.call("status")["guest_ns"]) == seen, "it runs while paused")
            c.call("resume")
            c.call("reset")
            wait_for_progress(c)
            c.call("pause")
            c.call("quit")
            m.end(0)
        with machine(directory, "--name", "box") as m:
            c = reach(at(directory))
            # All at once: what comes behind the end is answered or not, and hurts nobody.
            c.send(b"".join(b'{"command":"%s"}\n' % name for name in
                            (b"pause", b"quit", b"resume", b"reset", b"stats", b"quit", b"pause") * 9))
            m.end(0)


def test_two_clients():
    wrong = []

    def client(path, rng):
        try:
            c = Control(path)
            for _ in range(150):
                c.call(rng.choice(["pause", "resume", "reset", "stats", "status", "disks"]))
        except Exception as error:  # reported by the thread that waits
            wrong.append(error)

    rng = random.Random(seed())
    for more in ((), ("--deterministic",)):
        with scratch() as directory:
            with machine(directory, "--name", "box", "--cpus", "3", *more) as m:
                c = reach(at(directory))
                threads = [threading.Thread(target=client, args=(at(directory),
                                                                 random.Random(rng.random())))
                           for _ in range(3)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                check(not wrong, "a client: %r" % wrong[:1])
                c.call("resume")
                wait_for_progress(c)
                c.call("quit")
                m.end(0)


def test_with_debugger():
    """Both hold the machine: it runs when neither does."""
    with scratch() as directory:
        with machine(directory, "--name", "box", "--gdb", "unix:%s/gdb" % directory) as m:
            c = reach(at(directory))
            check(c.call("status")["state"] == "stopped", "the state")
            c.call("pause")
            c.call("resume")
            check(c.call("status")["state"] == "stopped" and instructions(c) == 0, "the state")
            c.call("pause")
            with socket.socket(socket.AF_UNIX) as gdb:
                gdb.connect(directory + "/gdb")
                gdb.sendall(b"+$D#44")  # detach: the machine may run
                harness.wait_until(lambda: c.call("status")["state"] == "paused", "the state")
            check(instructions(c) == 0, "it runs while paused")
            c.call("resume")
            wait_for_progress(c)
            c.call("quit")
            m.end(0)


def test_names():
    with scratch() as directory, machine(directory, "--name", "box") as m:
        reach(at(directory))
        code, _, err = run(["run", "--firmware", directory + "/loop", "--name", "box"])
        check(code == 2 and b"another --name" in err and err.count(b"\n") == 1, "a name twice", err)
        reach(at(directory)).call("status")
        # In the sandbox a broker would tidy up behind it.
        with machine(directory, "--sandbox", "off") as second:
            name = "vm-%d" % second.process.pid
            reach(at(directory, name))
            code, out, err = run(["ps"])
            lines = text(out).splitlines()
            check(code == 0 and len(lines) == 3 and lines[1].split()[:2] == ["box", str(m.process.pid)]
                  and lines[2].split()[:3] == [name, str(second.process.pid), "running"], "ps", out)
            second.signal(signal.SIGKILL)
            second.wait()
        check(os.path.exists(at(directory, name)), "a killed machine took its socket along")
        code, out, _ = run(["ps"])
        check(name.encode() not in out, "ps lists a machine that is gone", out)
        check(not os.path.exists(at(directory, name)), "ps leaves what is left over")
        if not harness.sanitized(harness.guise):
            with machine(directory) as third:
                name = "vm-%d" % third.process.pid
                reach(at(directory, name)).call("status")  # it is confined by then
                third.signal(signal.SIGKILL)
                third.wait()
            harness.wait_until(lambda: not os.path.exists(at(directory, name)),
                               "the broker leaves the socket")
        m.signal(signal.SIGKILL)
        m.wait()
        # Its name is free, though the socket is there.
        with machine(directory, "--name", "box") as again:
            c = reach(at(directory))
            check(c.call("status")["pid"] == again.process.pid, "another machine")
            c.call("quit")
            again.end(0)


def test_places():
    with scratch() as directory, scratch() as other:
        with machine(directory, "--control", other + "/socket") as m:
            reach(other + "/socket")
            check(not os.path.exists(directory + "/guise"), "two sockets")
            code, out, err = run(["ctl", "--json", other + "/socket", "status"])
            check(code == 0 and json.loads(out)["pid"] == m.process.pid, "ctl with a path", out + err)
            run(["ctl", other + "/socket", "quit"])
            m.end(0)
        words = ["run", "--firmware", directory + "/loop", "--deterministic", "--run-for", "1000"]
        code, _, err = run([*words, "--control", "none"])
        check(code == 0 and not err and not os.listdir(other), "none", err)
        # What is no socket is not touched.
        with open(other + "/file", "wb") as file:
            file.write(b"kept")
        code, _, err = run([*words, "--control", other + "/file"])
        check(code == 2 and b"in the way" in err and os.path.getsize(other + "/file") == 4, "a file",
              err)
        code, _, err = run([*words, "--control", "%s/%s" % (other, "x" * 120)])
        check(code == 2 and b"107 bytes" in err, "a long path", err)
        # A directory that others could change is not used, unless nobody asks for it.
        os.mkdir(other + "/guise")
        os.chmod(other + "/guise", 0o777)
        harness.runtime = other
        code, _, err = run([*words, "--name", "box"])
        check(code == 2 and b"only its owner" in err, "a public directory", err)
        code, _, err = run(words)
        check(code == 0 and not err and not os.listdir(other + "/guise"), "not asked for", err)


def test_command_line():
    with scratch() as directory, machine(directory, "--name", "box", "--net", "none") as m:
        reach(at(directory))
        for words, code, needle in (
                ("ctl", 2, b"guise ctl"), ("ctl box", 2, b"guise ctl"), ("ctl box dance", 2, b"dance"),
                ("ctl box status now", 2, b"now"), ("ctl box link", 2, b"NET"),
                ("ctl box link net0", 2, b"up|down"), ("ctl box link net0 off", 2, b"up|down"),
                ("ctl box link net5 up", 1, b"net5"), ("ctl nobody status", 1, b"nobody"),
                ("ctl .. status", 2, b"name"),
                ("ctl box balloon much", 2, b"much"), ("ctl --xml box status", 2, b"--xml"),
                ("ctl %s/loop status" % directory, 1, b"loop"), ("ps -a", 2, b"ps")):
            got, out, err = run(words.split())
            check(got == code and needle in err and err.startswith(b"guise: ") and
                  err.count(b"\n") == 1 and not out, "%s: exit code %d" % (words, got), out + err)
        code, out, _ = run(["ctl", "box", "nets"])
        check(code == 0 and out == b"nets[0].net              net0\nnets[0].network          none\n"
              b"nets[0].link             up\n", "nets", out)
        check(run(["ctl", "box", "balloon", "24M"]) == (0, b"", b""), "balloon")
        _, out, _ = run(["ctl", "box", "stats"])
        check(re.search(rb"(?m)^balloon.target +%d$" % (24 << 20), out), "stats", out)
        check(run(["ctl", "box", "pause"]) == (0, b"", b""), "pause")
        _, out, _ = run(["ctl", "box", "status"])
        check(b"paused" in out, "status", out)
        check(run(["ctl", "box", "quit"]) == (0, b"", b""), "quit")
        m.end(0)


if __name__ == "__main__":
    harness.main(globals())
