#!/usr/bin/env python3
"""guise as the kernel's handler of riscv64 programs: `guise binfmt`, and what programs then see.

    tests/proc/handler.py GUISE [test_NAME...]

Every test has a user namespace, which has handlers of its own since Linux 6.7: the machine's are not
touched."""

import os
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
# pylint: disable=wrong-import-position
import harness
from harness import Failure, Skip, check, main, require_exec, scratch, text, tool

DIR = "/proc/sys/fs/binfmt_misc"
NAME = "guise-riscv64"

# Tells what it was started with, or does one thing first and then starts the rest of its arguments.
PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static int show(int argc, char **argv)
{
    char exe[4096], name[17] = "";
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n < 0 ? 0 : n] = 0;
    prctl(PR_GET_NAME, name);
    for (int i = 0; i < argc; i++)
        printf("%s ", argv[i]);
    printf("| %s | %s | %s | %d\n", (char *)getauxval(AT_EXECFN), exe, name, dup(1));
    return argc;
}
int main(int argc, char **argv)
{
    if (argc < 3 || argv[1][0] != '-')
        return show(argc, argv);
    if (!strcmp(argv[1], "-exec"))
        execv(argv[2], argv + 2);
    else if (!strcmp(argv[1], "-fork") && !fork())
        execv(argv[2], argv + 2);
    else if (!strcmp(argv[1], "-fexec") || !strcmp(argv[1], "-fexec-cloexec"))
        fexecve(open(argv[2], O_RDONLY | (argv[1][6] ? O_CLOEXEC : 0)), argv + 2, environ);
    else if (!strcmp(argv[1], "-sh") && system(argv[2]) == 0)
        execv(argv[3], argv + 3);
    else if (!strcmp(argv[1], "-chroot") && !chroot(argv[2]) && !chdir("/"))
        execv(argv[3], argv + 3);
    int status = 99;
    wait(&status);
    return WEXITSTATUS(status);
}
"""


class Place:
    """A directory with the program `show`, and a way to run shell scripts in new namespaces there."""

    def __enter__(self):
        self.held = scratch()
        self.path = os.path.realpath(self.held.name)
        with open(self.path + "/show.c", "w", encoding="ascii") as file:
            file.write(PROGRAM)
        done = subprocess.run([tool("riscv64-linux-gnu-gcc"), "-static", "-O1", "-w", "-o", "show",
                               "show.c"], cwd=self.path, check=False)
        check(not done.returncode, "the program cannot be built")
        return self

    def __exit__(self, *_):
        self.held.cleanup()

    def run(self, script, install="install"):
        """(exit code, output of both kinds) of a script of bash."""
        begin = "mount -t binfmt_misc binfmt_misc %s || exit 77\n" % DIR
        if install:
            begin += "guise binfmt %s || exit 78\n" % install
        script = "guise() { %s \"$@\"; }\n%s%s" % (shlex.quote(harness.guise), begin, script)
        command = [tool("unshare"), "--user", "--map-root-user", "--mount", "bash", "-c", script]
        done = subprocess.run(command, cwd=self.path, check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                              env={**os.environ, "LC_ALL": "C", "GUISE_CACHE": ""})
        if done.returncode == 77 or done.stdout.startswith(b"unshare:"):
            raise Skip("no user namespaces with binfmt_misc here: %s" % text(done.stdout).strip())
        return done.returncode, text(done.stdout).replace(self.path, "/here")

    def expect(self, expected, script, code=0, **more):
        found, out = self.run(script, **more)
        if out != expected or found != code:
            raise Failure("%s\nended with %d, not %d\n---- expected\n%s---- output\n%s"
                          % (script, found, code, expected, out))


def test_verbs():
    with Place() as place:
        guise = harness.guise
        place.expect("there is no handler for riscv64 programs\n", "guise binfmt status", 1,
                     install=None)
        place.expect("%s %s, flags POF\n" % (NAME, guise), "guise binfmt status")
        place.expect("%s %s, flags POCF\n" % (NAME, guise), "guise binfmt status",
                     install="install --credentials")
        place.expect("there is no handler for riscv64 programs\n",
                     "guise binfmt install; guise binfmt remove; guise binfmt remove;"
                     "guise binfmt status", 1)
        place.expect("%s %s, flags POF\nbinfmt_misc   is switched off\n" % (NAME, guise),
                     "echo 0 >%s/status; guise binfmt status" % DIR, 1)


def test_usage():
    what = "guise: binfmt needs to be told what: guise binfmt install, remove or status\n"
    with Place() as place:
        for words in "", "instal", "--replace":
            place.expect(what, "guise binfmt " + words, 2)
        place.expect("guise: unexpected argument 'status'\n", "guise binfmt install status", 2)
        place.expect("guise: unknown option '--force'\n", "guise binfmt install --force", 2)
        without = "mount -t tmpfs tmpfs %s; setpriv --inh-caps=-all --bounding-set=-all -- %s binfmt " \
            % (DIR, shlex.quote(harness.guise))
        place.expect("guise: binfmt_misc is not mounted at %s, and mounting it needs root\n" % DIR,
                     without + "install", 2)
        place.expect("binfmt_misc   is not mounted at %s\n" % DIR, without + "status", 1)


def test_others():
    """Handlers of others: kept, or replaced when that is wished; not those for other programs."""
    magic = r":\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00"
    register = "\n".join("printf '%s' >%s/register" % (row, DIR) for row in (
        ":peer:M:" + magic + r"\\xf3\\x00::/bin/true:F", ":arm:M:" + magic + r"\\xb7\\x00::/bin/true:",
        ":ext:E::riscv::/bin/true:"))
    with Place() as place:
        place.expect("guise: riscv64 programs are given to /bin/true already (handler peer): "
                     "--replace removes that\n", register + "\nguise binfmt install", 2, install=None)
        place.expect("%-13s %s, flags POF\narm\next\n" % (NAME, harness.guise),
                     register + "\nguise binfmt install --replace; guise binfmt status; "
                     "cd %s; ls -d [a-f]*" % DIR, install=None)
        place.expect("show 1 | /here/show | /here/show | show | 3\n",
                     "guise binfmt remove\n" + register +
                     "\nguise binfmt install --replace; exec -a show ./show 1", 2)


def test_arguments():
    """argv, AT_EXECFN, /proc/self/exe, the thread's name and free descriptors, as from the kernel."""
    with Place() as place:
        place.expect("./show a  c | ./show | /here/show | show | 3\n", "./show a '' c", 4)
        place.expect("other a | /here/show | /here/show | show | 3\n", "exec -a other ./show a", 2)
        place.expect("show exec --strace -- | /here/show | /here/show | show | 3\n",
                     "PATH=.:$PATH; exec -a show $PWD/show exec --strace --", 4)
        place.expect("/here/show x /here/script a b | /here/script | /here/show | script | 3\n",
                     "printf '#!%s/show x\\n' $PWD >script; chmod +x script; exec -a q ./script a b",
                     5)
        place.expect("./show | ./show | /here/show | show | 0\n", "./show <&- >out; cat out; exit 1",
                     1)
        place.expect("./show | /here/link | /here/show | link | 3\n",
                     "ln -s show link; exec -a ./show ./link", 1)


def test_exec():
    """What programs start: by the kernel again, and by guise itself where the kernel cannot."""
    with Place() as place:
        shown = "./show a | ./show | /here/show | show | 3\n"
        place.expect(shown, "./show -exec ./show a", 2)
        place.expect(shown, "./show -fork ./show a", 2)
        place.expect(shown, "./show -exec ./show -exec ./show -fork ./show a", 2)
        place.expect("./show a | /dev/fd/3 | /here/show | \n",
                     "./show -fexec ./show a | grep -o '.*show | '")
        place.expect("./show a | /here/show | /here/show | show | 3\n",
                     "./show -fexec-cloexec ./show a", 2)
        place.expect(shown, "./show -sh %s ./show a"
                     % shlex.quote(shlex.quote(harness.guise) + " binfmt remove"), 2)
        place.expect("/usr/bin/env: 'show': No such file or directory\n",
                     "./show -exec /usr/bin/env show", 127)


def test_chroot():
    """Where nothing but the program is: no guise, no /proc."""
    with Place() as place:
        place.expect("/show a | /show | /show | show | 3\n",
                     "mkdir root; cp show root; ./show -chroot root /show -exec /show a", 2)
        place.expect("/show a | /show | /show | show | 3\n",
                     "chroot root /show -fork /show -exec /show a", 2)


def test_execute_only():
    """A program that may be executed and not read."""
    with Place() as place:
        place.expect("./show a | ./show | /here/show | show | 3\n",
                     "chmod 111 show; setpriv --inh-caps=-all --bounding-set=-all ./show -exec "
                     "./show a", 2)


if __name__ == "__main__":
    require_exec(sys.argv[1])
    main(globals())
