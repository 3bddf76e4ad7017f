#!/usr/bin/env python3
"""The terminal: raw while a machine runs, as before after every kind of end; the keys of guise."""

import os
import select
import signal
import subprocess
import sys
import termios

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import FACTOR, Machine, check, run, scratch, text, wait_until

# Prints `r` when it has started and then, in capitals or not, what it is sent (RV64IM, M-mode).
ECHO = bytes.fromhex(
    "b7020010"  # lui  t0, 0x10000
    "13032007"  # li   t1, 'r'
    "23806200"  # sb   t1, 0(t0)
    "03c35200"  # 1: lbu t1, 5(t0)
    "13731300"  # andi t1, t1, 1
    "e30c03fe"  # beqz t1, 1b
    "03c30200"  # lbu  t1, 0(t0)
    "23806200"  # sb   t1, 0(t0)
    "6ff0dffe")  # j   1b

POWER_OFF = bytes.fromhex(
    "b7021000"  # lui  t0, 0x100
    "37530000"  # lui  t1, 5
    "13035355"  # addi t1, t1, 0x555
    "23a06200")  # sw   t1, 0(t0)


class Guest(Machine):
    """The echo program, running."""

    def __init__(self, directory, code=ECHO):
        path = directory + "/guest"
        with open(path, "wb") as file:
            file.write(code)
        super().__init__(["run", "--firmware", path, "--memory", "16M"], seconds=20)
        if code is ECHO:
            self.expect(rb"r")

    def check_raw(self):
        modes = termios.tcgetattr(self.slave)
        check(not modes[3] & (termios.ICANON | termios.ECHO | termios.ISIG), "not in raw mode")


def test_quit_key():
    with scratch() as directory, Guest(directory) as m:
        m.check_raw()
        m.send(b"abc")
        m.expect(rb"abc")
        m.send(b"\x01x")
        m.end(0)


def test_help_key():
    with scratch() as directory, Guest(directory) as m:
        m.send(b"\x01h")
        m.expect(rb"Ctrl-A h +this help\r*\nCtrl-A x +end guise")
        m.send(b"z")
        m.expect(rb"z")
        m.send(b"\x01x")
        m.end(0)


def test_keys_for_the_guest():
    """Everything else reaches the guest: Ctrl-C, Ctrl-Z, Ctrl-D, and Ctrl-A typed twice."""
    with scratch() as directory, Guest(directory) as m:
        m.send(b"1\x03\x1a\x04\x1c\x01\x012\x01a3")
        m.expect(rb"1\x03\x1a\x04\x1c\x012\x013")
        m.send(b"\x01x")
        m.end(0)


def test_power_off():
    with scratch() as directory, Guest(directory, POWER_OFF) as m:
        m.end(0)


def ended_by(number):
    with scratch() as directory, Guest(directory) as m:
        m.check_raw()
        m.signal(number)
        m.end(-number)


def test_sigterm():
    ended_by(signal.SIGTERM)


def test_sigint():
    ended_by(signal.SIGINT)


def test_sighup():
    ended_by(signal.SIGHUP)


def test_stop_and_continue():
    with scratch() as directory, Guest(directory) as m:
        m.signal(signal.SIGTSTP)
        # Its process group is an orphan: the system does not let it stop, and it goes on.
        m.send(b"q")
        m.expect(rb"q")
        m.signal(signal.SIGSTOP)
        termios.tcsetattr(m.slave, termios.TCSANOW, m.modes)
        m.signal(signal.SIGCONT)
        wait_until(lambda: not termios.tcgetattr(m.slave)[3] & termios.ECHO,
                   "not raw again after SIGCONT")
        m.send(b"\x01x")
        m.end(0)


def test_pipes():
    """Without a terminal: input from a pipe, output to a pipe, keys of guise too."""
    with scratch() as directory:
        path = directory + "/guest"
        with open(path, "wb") as file:
            file.write(ECHO)
        with subprocess.Popen([harness.guise, "run", "--firmware", path], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, bufsize=0) as process:
            try:
                process.stdin.write(b"hello")
                out = b""
                while len(out) < 6 and select.select([process.stdout], [], [], 20 * FACTOR)[0]:
                    out += process.stdout.read(6)
                check(out == b"rhello", "echo", out)
                process.stdin.write(b"\x01x")
                code = process.wait(20 * FACTOR)
                check(code == 0, "exit code %d" % code)
            finally:
                process.kill()


def test_help():
    code, out, _ = run(["help"])
    check(code == 0 and b"run" in out and b"disasm" in out, "help", out)
    code, out, _ = run(["help", "run"])
    for option in ("engine", "cpus", "memory", "kernel", "initrd", "append", "firmware", "disk",
                   "console", "deterministic", "lockstep", "stats", "dump-dtb", "gdb"):
        check(code == 0 and "--" + option in text(out), "--%s is not in the help" % option, out)
    for words in (["disk", "create", "--help"], ["run", "--cpus", "2", "--help"], ["disk", "-h"]):
        code, out, _ = run(words)
        check(code == 0 and out.startswith(b"usage: guise " + words[0].encode()), "help", out)
    code, out, _ = run(["version"])
    check(code == 0 and out.startswith(b"guise "), "version", out)


def test_disasm():
    code, out, _ = run(["disasm", "-"], stdin=bytes.fromhex("b7020010" "0145"))
    check(code == 0 and text(out) == "       0:\t100002b7\tlui\tt0,0x10000\n"
          "       4:\t4501\tc.li\ta0,0\n", "disasm", out)


if __name__ == "__main__":
    harness.main(globals())
