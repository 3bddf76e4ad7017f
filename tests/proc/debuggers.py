#!/usr/bin/env python3
"""Debian's riscv64 strace and gdb under `guise exec`, with riscv64 programs that they trace.

    tests/proc/debuggers.py GUISE [--engine NAME] [test_NAME...]"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
# pylint: disable=wrong-import-position
import harness
from harness import check, guest, main, require_exec, run, text, tool

SECONDS = 120


def words_of(program):
    """The command that starts a program of the sysroot, or one that is made here."""
    engine = ["--engine", harness.engine] if harness.engine else []
    root = guest("debuggers")
    path = program if program.startswith("/") else "%s/usr/bin/%s" % (root, program)
    return [harness.guise, "exec", *engine, "--sysroot", root, "--", path]


def environment():
    root = guest("debuggers")
    keep = {name: value for name, value in os.environ.items()
            if name.startswith(("GUISE_CACHE", "ASAN_", "UBSAN_"))}
    return {"PATH": root + "/usr/bin", "SHELL": root + "/usr/bin/dash", "LC_ALL": "C.UTF-8",
            "HOME": "/nonexistent", **keep}


class Place:
    """A directory in which programs run. Use it with `with`."""

    def __enter__(self):
        self.held = tempfile.TemporaryDirectory(prefix="guise-test-")
        self.path = self.held.name
        return self

    def __exit__(self, *_):
        self.held.cleanup()

    def build(self, name, source):
        """A program for riscv64, as debuggers like it."""
        path = os.path.join(self.path, name)
        with open(path + ".c", "w", encoding="ascii") as file:
            file.write(source)
        code, _, err = run(["-g", "-O0", "-pthread", "-o", path, path + ".c"], SECONDS,
                           program=tool("riscv64-linux-gnu-gcc"))
        check(not code, "%s cannot be compiled" % name, err)
        return path

    def run(self, program, *args, code=0):
        """What the program writes, errors as well."""
        command = words_of(program) + list(args)
        got, out, err = run(command[1:], SECONDS, program=command[0], cwd=self.path,
                            env=environment())
        check(got == code, "%s ended with %d, not %d" % (command[6:], got, code), out + err)
        return text(out) + text(err)

    def start(self, program, *args):
        return subprocess.Popen(words_of(program) + list(args), cwd=self.path, env=environment(),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)

    def strace(self, *args, code=0):
        """The lines of strace's report."""
        self.run("strace", "-o", "report", *args, code=code)
        with open(os.path.join(self.path, "report"), encoding="utf-8") as file:
            return file.read().splitlines()

    def gdb(self, commands, *args):
        root = guest("debuggers")
        options = ["-nx", "-batch", "-iex", "set debuginfod enabled off",
                   "--data-directory=%s/usr/share/gdb" % root]
        for command in commands:
            options += ["-ex", command]
        return self.run("gdb", *options, *args)


def expect(lines, patterns):
    """The patterns match lines in this order, others may be in between."""
    rest = iter(lines)
    for pattern in patterns:
        check(any(re.search(pattern, line) for line in rest), "no line with %s" % pattern,
              "\n".join(lines).encode())


def wait_for(condition, what):
    end = time.monotonic() + SECONDS * harness.FACTOR
    while not condition():
        check(time.monotonic() < end, "it takes too long until " + what)
        time.sleep(0.02)


# ---- strace -------------------------------------------------------------------------------------


def test_strace():
    with Place() as place:
        os.mkdir(place.path + "/directory")
        lines = place.strace("-f", "ls", "directory")
        pid = lines[0].split()[0]
        check(all(line.split()[0] == pid for line in lines), "there is more than one process")
        expect(lines, [r'execve\(".*/ls", \["ls", "directory"\], 0x\w+ /\* \d+ vars \*/\) = 0$',
                       r"brk\(NULL\) += 0x2a",
                       r'openat\(AT_FDCWD, "directory", O_RDONLY\|.*O_DIRECTORY\) = 3$',
                       r"getdents64\(3, 0x\w+ /\* 2 entries \*/, 32768\) += 48$",
                       r"exit_group\(0\) += \?$", r"\+\+\+ exited with 0 \+\+\+$"])


def test_strace_follows():
    with Place() as place:
        lines = place.strace("-f", "sh", "-c", "echo word | wc -c; exit 3", code=3)
        first = lines[0].split()[0]
        tasks = {line.split()[0] for line in lines}
        check(len(tasks) == 3, "it does not see 3 processes but %s" % tasks, "\n".join(lines).encode())
        for task in tasks - {first}:
            own = [line for line in lines if line.startswith(task + " ")]
            expect(own, [r"set_robust_list", r"exit_group\(0", r"exited with 0"])
        expect(lines, [r"clone\(.*flags=CLONE_CHILD_CLEARTID\|CLONE_CHILD_SETTID\|SIGCHLD",
                       r'execve\(".*/wc", \["wc", "-c"\]'])
        expect(lines, [r'write\(1, "word\\n", 5'])
        expect(lines, [r'read\(0, "word\\n", |read resumed>"word\\n", '])
        expect(lines, [r"--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=\d+",
                       r"^%s +exit_group\(3\)" % first, r"^%s +\+\+\+ exited with 3" % first])


THREADS = r"""
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static void *work(void *arg) { getppid(); return arg; }
int main(void)
{
    pthread_t t;
    pthread_create(&t, NULL, work, NULL);
    pthread_join(t, NULL);
    pid_t child = vfork();
    if (!child) {
        execlp("true", "true", NULL);
        _exit(1);
    }
    waitpid(child, NULL, 0);
    alarm(1);
    signal(SIGALRM, (void (*)(int))work);
    pause();
    kill(getpid(), SIGUSR1);
}
"""


def test_strace_threads():
    with Place() as place:
        lines = place.strace("-f", place.build("program", THREADS), code=-signal.SIGUSR1)
        first = lines[0].split()[0]
        expect(lines, [r"clone3\({flags=CLONE_VM\|CLONE_FS\|.*CLONE_THREAD", r"getppid\(",
                       r"clone\(child_stack=.*CLONE_VM\|CLONE_VFORK",
                       r'execve\(".*/true", \["true"\]',
                       r"^%s +ppoll\(NULL, 0, NULL, NULL, 0\) += \? ERESTARTNOHAND" % first,
                       r"^%s +--- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---" % first,
                       r"^%s +rt_sigreturn\({mask=\[\]}\) += -1 EINTR" % first,
                       r"--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=%s" % first,
                       r"^%s +\+\+\+ killed by SIGUSR1" % first])


SLEEPS = r"""
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
volatile int done;
volatile long count;
static void *work(void *arg)
{
    while (!done)
        count++;
    return arg;
}
static void rest(void)
{
    const struct timespec moment = {0, 20000000};
    if (nanosleep(&moment, NULL))
        _exit(1);
}
int main(void)
{
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, work, NULL);
    puts("ready");
    fflush(stdout);
    while (!done)
        rest();
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    return 7;
}
"""


def test_strace_attaches():
    with Place() as place:
        program = place.start(place.build("program", SLEEPS))
        try:
            check(program.stdout.readline() == b"ready\n", "the program does not start")
            tracer = place.start("strace", "-f", "-o", "report", "-p", str(program.pid))
            report = place.path + "/report"
            wait_for(lambda: os.path.exists(report) and os.path.getsize(report) > 2000,
                     "strace has seen something")
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()
            with open(report, encoding="ascii") as file:
                lines = file.read().splitlines()
            expect(lines, [r"clock_nanosleep\(CLOCK_REALTIME, 0, {tv_sec=0, tv_nsec=20000000}, "] * 5)
            check(program.poll() is None, "the program has ended")
            out = place.gdb(["set var done = 1", "detach"], "-p", str(program.pid))
            check(program.wait(SECONDS) == 7, "the program did not end as it was to", out.encode())
        finally:
            program.kill()
            program.communicate()


# ---- gdb ----------------------------------------------------------------------------------------


PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
struct point { int x, y; };
static int add(int a, int b)
{
    int sum = a + b;
    return sum;
}
static int work(struct point *p, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        sum = add(sum, p->x);
        p->x++;
    }
    return sum;
}
int main(int argc, char **argv)
{
    struct point p = {3, 4};
    int result = work(&p, 5);
    printf("%s %d\n", argv[1], result);
    fflush(stdout);
    if (argc > 2)
        *(volatile int *)8 = 1;
    return result;
}
"""


def test_gdb():
    with Place() as place:
        program = place.build("program", PROGRAM)
        out = place.gdb(["break add", "run word", "backtrace", "next", "next", "print sum",
                         "finish", "step", "print *p", "print $_siginfo.si_signo", "delete",
                         "watch p->x", "continue", "continue", "delete", "call add(20, 22)",
                         "info registers pc", "stepi", "tbreak printf", "continue", "continue"],
                        program)
        expect(out.splitlines(), [
            r"^Breakpoint 1, add \(a=0, b=3\)", r"^#0 +add \(a=0, b=3\)",
            r"^#1 +0x\w+ in work \(p=0x\w+, n=5\)", r"^#2 +0x\w+ in main \(argc=2, ",
            r"^\$1 = 3$", r"^Value returned is \$2 = 3$",
            r"^\$3 = {x = 3, y = 4}$", r"^\$4 = 5$",
            r"^Old value = 3$", r"^New value = 4$", r"^Old value = 4$", r"^New value = 5$",
            r"^\$5 = 42$", r"^pc +0x2a\w+", r"^Temporary breakpoint 3, 0x\w+ in printf",
            r"^word 25$", r"exited with code 031"])


def test_gdb_fault():
    with Place() as place:
        program = place.build("program", PROGRAM)
        out = place.gdb(["run a b", "backtrace", "print $_siginfo._sifields._sigfault.si_addr",
                         "kill"], "--args", program, "a", "b")
        expect(out.splitlines(), [r"^a 25$", r"^Program received signal SIGSEGV",
                                  r"in main \(argc=3", r"^\$1 = \(void \*\) 0x8$|^\$1 = .*0x8",
                                  r"killed\]$"])


def test_gdb_threads():
    with Place() as place:
        program = place.build("program", SLEEPS)
        out = place.gdb(["break rest", "run", "info threads", "thread apply all backtrace 1",
                         "print count > 0", "set var done = 1", "delete", "continue"], program)
        expect(out.splitlines(), [r"^Thread 1 .*hit Breakpoint 1, rest"])
        for number in (1, 2, 3):
            expect(out.splitlines(), [r"^[* ] %d +Thread 0x\w+ \(LWP \d+\)" % number])
        expect(out.splitlines(), [r"^Thread 3 ", r"^#0 .*work \(arg=0x0\)", r"^\$1 = 1$",
                                  r"exited with code 07"])


FORKS = r"""
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int child(int n) { return n * 2; }
int main(int argc, char **argv)
{
    int status;
    if (argc > 1)
        return 4;
    if (!fork())
        _exit(child(21));
    wait(&status);
    printf("child: %d\n", WEXITSTATUS(status));
    fflush(stdout);
    execl(argv[0], argv[0], "again", NULL);
}
"""


def test_gdb_forks():
    with Place() as place:
        program = place.build("program", FORKS)
        out = place.gdb(["catch fork", "catch exec", "run", "continue", "break main", "continue",
                         "print argc", "continue"], program)
        expect(out.splitlines(), [r"^Catchpoint 1 \(forked process \d+\)", r"^child: 42$",
                                  r"^Catchpoint 2 \(exec'd .*/program\)", r"Breakpoint 3, main",
                                  r"^\$1 = 2$", r"exited with code 04"])
        out = place.gdb(["set follow-fork-mode child", "break child", "run", "finish", "continue"],
                        program)
        expect(out.splitlines(), [r"hit Breakpoint 1.*, child \(n=21\)", r"^Value returned.* = 42$",
                                  r"exited with code 052"])


if __name__ == "__main__":
    require_exec(sys.argv[1])
    main(globals())
