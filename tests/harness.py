"""Drives guise, and QEMU for comparison, from the tests in Python.

A test is a script: functions named test_*, and main(globals()) at the end. Its arguments are the
guise program, optionally `--engine NAME`, which every machine is then run with, and optionally names
of the functions to call. What a test needs from Debian's archive comes from tools/guest, which keeps
it in .cache; without it the script exits with 77.

Machine runs a program on a pseudo-terminal, run() runs one with pipes. Every failure shows all that
the program wrote. Times are multiplied by $GUISE_TEST_FACTOR (tools/check sets it for slow builds).
"""

import fcntl
import glob
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
FACTOR = float(os.environ.get("GUISE_TEST_FACTOR", "1"))
PROMPT = b"# "

guise = None  # the program under test, set by main()
engine = None  # the engine that machines are run with; None: guise chooses
runtime = None  # where machines have their control sockets
cache = ""  # where they keep translations, if a test says so


class Failure(Exception):
    """What went wrong, with all output."""


class Skip(Exception):
    """What is missing on this machine."""


def check(condition, message, output=b""):
    if not condition:
        raise Failure(message + ("\n---- output\n" + text(output) if output else ""))


def text(data):
    """Output to be read, of which the end is enough."""
    return data[-20000:].decode(errors="replace").replace("\r", "")


def seed():
    """Random tests print their seed and accept one."""
    value = int(os.environ.get("GUISE_SEED", "0") or "0", 0) or int.from_bytes(os.urandom(6), "big")
    print("seed: GUISE_SEED=%d" % value, flush=True)
    return value


def wait_until(condition, message, seconds=20):
    end = time.monotonic() + seconds * FACTOR
    while not condition():
        check(time.monotonic() < end, message)
        time.sleep(0.02)


def need_speed():
    """For what takes long and is about something else than the engine."""
    if engine == "interp" and not os.environ.get("GUISE_LONG"):
        raise Skip("the translator does it; GUISE_LONG=1 has the interpreter do it, too")


def tool(name):
    path = shutil.which(name)
    if not path:
        raise Skip("%s is not installed" % name)
    return path


# ---- guests -------------------------------------------------------------------------------------


def guest(*verb):
    """The path that tools/guest prints for a verb."""
    done = subprocess.run([ROOT + "/tools/guest", *verb], text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise Skip("tools/guest %s: %s" % (verb[0], (done.stderr.strip().splitlines() or ["?"])[-1]))
    return done.stdout.strip()


def with_libraries(tree, program, path):
    """Options of tools/guest's initramfs: a program of a tree, and all libraries of the tree."""
    files = {"bin/" + program: tree + path}
    for library in glob.glob(tree + "/usr/lib/riscv64-linux-gnu/*.so*"):
        files["lib/riscv64-linux-gnu/" + os.path.basename(library)] = library
    loader = "ld-linux-riscv64-lp64d.so.1"
    files["lib/" + loader] = files["lib/riscv64-linux-gnu/" + loader]
    return [word for name, source in files.items() for word in ("--add", name + "=" + source)]


# Leaves out what is three quarters of a kernel's work until a second after its boot and no test looks
# at: self-tests of ciphers, certificates to check modules with, names for tracing and BPF.
QUICK = ("cryptomgr.notests initcall_blacklist=jent_mod_init,load_system_certificate_list,"
         "init_kprobe_trace,bpf_tcp_ca_kfunc_init,bpf_dummy_struct_ops_init")


def linux(append="console=ttyS0", initrd=None, whole=False):
    """Options that boot Debian's kernel; `whole`: as it boots by itself, not as quick as can be."""
    return ["--kernel", guest("kernel"), "--initrd", initrd or guest("initramfs"),
            "--append", append if whole else append + " " + QUICK]


def scratch(big=False):
    """A directory that goes away at the end; in memory for big files that need no disk."""
    place = None
    if big and os.access("/dev/shm", os.W_OK):
        room = os.statvfs("/dev/shm")
        place = "/dev/shm" if room.f_bavail * room.f_frsize > 1 << 30 else None
    return tempfile.TemporaryDirectory(prefix="guise-test-", dir=place)


def environment(program):
    """guise puts control sockets into a directory of the script's, and nothing into the user's."""
    return None if program or not runtime else dict(os.environ, XDG_RUNTIME_DIR=runtime,
                                                    GUISE_CACHE=cache)


def command(program, args):
    """The command line of guise, with the engine under test, or of another program."""
    if program or not engine or not args or args[0] != "run":
        return [program or guise, *args]
    return [guise, "run", "--engine", engine, *args[1:]]


# ---- without a terminal -------------------------------------------------------------------------


def run(args, seconds=60, stdin=b"", program=None, **more):
    """(exit code, standard output, standard error) of guise, or of another program."""
    more.setdefault("env", environment(program))
    process = subprocess.Popen(command(program, args), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    try:
        out, err = process.communicate(stdin, seconds * FACTOR)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise Failure("no end within %d s: %s\n---- output\n%s%s"
                      % (seconds * FACTOR, " ".join(args), text(out), text(err)))
    return process.returncode, out, err


class Bare:
    """Makes the programs of tests/vmm/bare in a directory, as ELF files and as raw images."""

    def __init__(self, directory):
        self.directory = directory
        self.tools = guest("binutils")

    def make(self, name, **symbols):
        """The path without .elf and .bin. `symbols` are defined for the assembler."""
        base = os.path.join(self.directory, name)
        here = ROOT + "/tests/vmm/bare"
        defined = [word for item in symbols.items() for word in ("--defsym", "%s=%d" % item)]
        for tool, args in (("as", ["-march=rv64gc", "-mabi=lp64d", "-I", here, *defined, "-o",
                                   base + ".o", here + "/" + name + ".S"]),
                           ("ld", ["-T", here + "/bare.ld", "--no-warn-rwx-segments", "-o",
                                   base + ".elf", base + ".o"]),
                           ("objcopy", ["-O", "binary", base + ".elf", base + ".bin"])):
            program = "%s/riscv64-linux-gnu-%s" % (self.tools, tool)
            code, _, err = run(args, program=program)
            if code:
                raise Failure("%s: %s" % (tool, text(err)))
        return base


# ---- on a terminal ------------------------------------------------------------------------------


class Terminal:
    """The near end of a terminal at whose far end a process writes."""

    def __init__(self, fd, process, command, seconds=60):
        self.fd = fd
        self.process = process
        self.command = command
        self.seconds = seconds
        self.log = b""
        self.at = 0  # what expect() has not looked at yet

    def fail(self, message):
        raise Failure("%s\n---- command\n%s\n---- output\n%s"
                      % (message, " ".join(self.command), text(self.log)))

    def _read(self, seconds):
        if not select.select([self.fd], [], [], max(seconds, 0))[0]:
            return False
        data = os.read(self.fd, 65536)
        self.log += data
        return bool(data)

    def expect(self, pattern, seconds=None):
        """Waits for a regular expression (bytes) and returns its match."""
        end = time.monotonic() + (seconds or self.seconds) * FACTOR
        while True:
            found = re.search(pattern, self.log[self.at:])
            if found:
                self.at += found.end()
                return found
            ended = self.process.poll() is not None
            if not self._read(0.1 if ended else min(end - time.monotonic(), 1)) and ended:
                self.fail("ended with %d before %r" % (self.process.returncode, pattern))
            if time.monotonic() >= end:
                self.fail("no %r within %d s" % (pattern, (seconds or self.seconds) * FACTOR))

    def send(self, data):
        os.write(self.fd, data)

    def login(self, seconds=None):
        """Waits for the shell of tools/guest's initramfs."""
        self.expect(rb"BusyBox[^\0]*?" + PROMPT, seconds)
        # The shell breaks the lines that it echoes where the terminal ends.
        self.shell("stty cols 1000")

    def shell(self, command, seconds=None):
        """Output of a shell command in the guest, whose exit code must be 0."""
        code, output = self.shell_code(command, seconds)
        if code:
            self.fail("%r ended with %d" % (command, code))
        return output

    def start(self, command):
        """Has a command run meanwhile. It is no child of the shell: busybox's loses a key, or its
        echo, when a child ends while it reads."""
        self.shell("(%s &)" % command)

    def shell_code(self, command, seconds=None):
        # What is typed is echoed: there the mark is not followed by a number.
        self.send(command.encode() + b"; echo :end:$?\n")
        found = self.expect(rb":end:\$\?\r*\n([^\0]*?):end:(\d+)\r*\n", seconds)
        self.expect(PROMPT)
        return int(found.group(2)), text(found.group(1))

    def wait(self, seconds=None):
        """The exit code; the output until then is in self.log."""
        end = time.monotonic() + (seconds or self.seconds) * FACTOR
        while self.process.poll() is None:
            self._read(0.05)
            if time.monotonic() >= end:
                self.fail("no end within %d s" % ((seconds or self.seconds) * FACTOR))
        while self._read(0):
            pass
        return self.process.returncode

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)


class Machine(Terminal):
    """A program on a pseudo-terminal of its own. Use it with `with`."""

    def __init__(self, args, program=None, seconds=60):
        try:
            fd, self.slave = pty.openpty()
        except OSError as error:
            raise Skip("no pseudo-terminal: %s; is /dev/pts mounted?" % error) from None
        # A terminal of usual size, with modes that must come back at the end.
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, b"\x18\0\x50\0\0\0\0\0")
        self.modes = termios.tcgetattr(self.slave)
        words = command(program, args)
        process = subprocess.Popen(words, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                   start_new_session=True, preexec_fn=self._take_terminal,
                                   env=environment(program))
        super().__init__(fd, process, words, seconds)

    @staticmethod
    def _take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # Ignored when the tests run under nohup, and ignored signals stay so in new programs.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)
        os.close(self.slave)

    def check_modes(self):
        if termios.tcgetattr(self.slave) != self.modes:
            self.fail("the terminal's modes are not what they were")

    def end(self, code, seconds=None):
        """Waits for the end, which must be this exit code, with the terminal as it was before."""
        got = self.wait(seconds)
        if got != code:
            self.fail("exit code %d, expected %d" % (got, code))
        self.check_modes()


class Control:
    """A client of a machine's control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(60 * FACTOR)
        self.lines = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        line = self.lines.readline()
        if not line:
            raise EOFError("the machine has closed its control socket")
        check(line.endswith(b"\n"), "an answer without an end", line)
        return json.loads(line)

    def ask(self, command, **arguments):
        """The whole answer."""
        self.send(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
        return self.answer()

    def call(self, command, **arguments):
        """The result."""
        answer = self.ask(command, **arguments)
        check(answer["ok"], "%s: %r" % (command, answer))
        return answer["result"]


def sanitized(program):
    with open(program, "rb") as file:
        return b"__asan_init" in file.read()


def inspectable():
    """Options for a machine whose process is looked into: of a confined one only root may do that."""
    return ["--sandbox", "off"] if os.getuid() else []


def require_exec(program):
    """Ends the script where `guise exec` can do nothing: a sanitizer keeps its own memory at the
    addresses of the guest program's."""
    if sanitized(program):
        print("skipped: guise exec needs a build without the address sanitizer")
        sys.exit(77)


# ---- the script ---------------------------------------------------------------------------------


def main(names):
    global guise, engine, runtime
    guise, words = os.path.abspath(sys.argv[1]), sys.argv[2:]
    if words[:1] == ["--engine"]:
        engine, words = words[1], words[2:]
    failed, skipped, passed = [], [], []
    place = scratch()
    runtime = place.name
    for name in words or [name for name in names if name.startswith("test_")]:
        start = time.monotonic()
        try:
            names[name]()
            passed.append(name)
            print("ok %s (%.1f s)" % (name, time.monotonic() - start), flush=True)
        except Skip as reason:
            skipped.append(name)
            print("skip %s: %s" % (name, reason), flush=True)
        except Failure as reason:
            failed.append(name)
            print("FAILED %s: %s" % (name, reason), flush=True)
        except Exception:  # a mistake in the test: as bad, and with where it is
            failed.append(name)
            print("FAILED %s\n%s" % (name, traceback.format_exc()), flush=True)
    if failed:
        sys.exit("failed: " + ", ".join(failed))
    sys.exit(0 if passed else 77)
