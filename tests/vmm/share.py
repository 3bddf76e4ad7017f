#!/usr/bin/env python3
"""Debian's kernel with folders of the host: what it sees there is what it sees in memory, whatever a
guest does stays inside and belongs to who runs guise, and an end of the daemon is an error of I/O."""

import contextlib
import glob
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import Machine, check, guest, linux, need_speed, run, scratch, text, tool

HERE = os.path.dirname(os.path.realpath(__file__))
MOUNT = "mkdir -p /mnt; mount -t virtiofs share /mnt"
STEPS = 5000 if os.environ.get("GUISE_LONG") else 1000


def boot(directory, *args, program=None, modules="virtio_mmio,virtiofs"):
    checker = directory + "/share_check"
    subprocess.run([tool("riscv64-linux-gnu-gcc"), "-std=gnu17", "-O1", "-static", "-o", checker,
                    HERE + "/share_check.c"], check=True)
    initrd = guest("initramfs", "--modules", modules, "--add", "bin/share_check=" + checker, "-o",
                   directory + "/initramfs")
    return Machine(["run", *linux("console=ttyS0 quiet", initrd), *args], program=program,
                   seconds=300)


@contextlib.contextmanager
def folder():
    """(scratch directory, folder to share in it)."""
    with scratch() as directory:
        os.mkdir(directory + "/folder")
        yield directory, directory + "/folder"


def off(m):
    m.send(b"poweroff -f\n")
    m.end(0)


def daemons(m):
    """The processes that serve the folders of a machine."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            name, rest = file.read().rsplit(")", 1)
            if name.endswith("(guise-fs") and int(rest.split()[1]) == m.process.pid:
                found.append(int(path.split("/")[2]))
    return found


def compare(m, where):
    """The checker's calls in a folder and in memory, which must say the same."""
    m.shell("mkdir -p /tmp/t; mount -t tmpfs tmpfs /tmp/t; mkdir /tmp/t/calls %s/calls" % where)
    m.shell("cd /tmp/t/calls && share_check calls > /tmp/in_memory; cd %s/calls && share_check calls > "
            "/tmp/shared; cd /" % where)
    memory, shared = m.shell("cat /tmp/in_memory"), m.shell("cat /tmp/shared")
    check(len(memory.splitlines()) > 150, "the checker has stopped", memory.encode())
    different = m.shell_code("diff /tmp/in_memory /tmp/shared")[1]
    check(memory == shared, "a shared folder is not like memory (-, +)", different.encode())


def test_like_memory():
    with folder() as (directory, shared), boot(directory, "--share", shared, "--cpus", "2") as m:
        m.login()
        m.shell(MOUNT)
        compare(m, "/mnt")
        for part in ("random %d" % STEPS, "races %d" % (STEPS // 10)):
            m.shell("cd /mnt && GUISE_SEED=%d share_check %s" % (harness.seed(), part))
        off(m)
        for path, _, files in os.walk(shared):
            for name in files:
                st = os.lstat(path + "/" + name)
                check(st.st_uid == os.getuid(), "%s belongs to %d" % (name, st.st_uid))
                check(not stat.S_ISBLK(st.st_mode) and not stat.S_ISCHR(st.st_mode), name)


def test_both_sides():
    """What one side writes, the other reads; bits and owners that must not reach the host."""
    with folder() as (directory, shared):
        with open(shared + "/host", "w", encoding="ascii") as file:
            file.write("from the host\n")
        os.symlink(os.path.realpath(__file__), shared + "/out")
        os.symlink("../secret", shared + "/up")
        with open(directory + "/secret", "w", encoding="ascii") as file:
            file.write("not yours\n")
        with boot(directory, "--share", shared) as m:
            m.login()
            m.shell(MOUNT)
            check(m.shell("cat /mnt/host") == "from the host\n", "the guest reads something else")
            check(m.shell_code("cat /mnt/out")[0] != 0, "a link leads out of the guest")
            check("not yours" not in m.shell_code("cat /mnt/up /mnt/../secret")[1], "a way out")
            m.shell("echo from the guest > /mnt/guest; cp /bin/busybox /mnt/su; chmod 6755 /mnt/su")
            check(m.shell_code("mknod /mnt/null c 1 3")[0] != 0, "a guest has made a device")
            check(m.shell_code("chown 1000 /mnt/guest")[0] != 0, "a guest has given a file away")
            with open(shared + "/guest", encoding="ascii") as file:
                check(file.read() == "from the guest\n", "the host reads something else")
            mode = os.stat(shared + "/su").st_mode
            check(mode & 0o7777 == 0o755, "the host has a program of mode %o" % mode)
            # A file that is open in the guest changes, goes, and comes back as another one.
            with open(shared + "/host", "a", encoding="ascii") as file:
                file.write("more\n")
            time.sleep(1.1)
            check(m.shell("cat /mnt/host") == "from the host\nmore\n", "a change is not seen")
            os.unlink(shared + "/host")
            os.mkdir(shared + "/host")
            time.sleep(1.1)
            check(m.shell("ls -d /mnt/host/") == "/mnt/host/\n", "an exchange is not seen")
            off(m)


def test_readonly():
    with folder() as (directory, shared):
        with open(shared + "/file", "w", encoding="ascii") as file:
            file.write("as it is\n")
        with boot(directory, "--share", shared + ",readonly,tag=my files") as m:
            m.login()
            m.shell("mkdir /mnt; mount -t virtiofs 'my files' /mnt")
            for command in ("echo x >> /mnt/file", "echo x > /mnt/new", "rm /mnt/file",
                            "chmod 777 /mnt/file", "mkdir /mnt/d", "ln /mnt/file /mnt/link",
                            "ln -s x /mnt/link", "mv /mnt/file /mnt/other", "touch /mnt/file",
                            "truncate -s 0 /mnt/file"):
                code, said = m.shell_code(command)
                check(code and "Read-only" in said, "%s: %d" % (command, code), said.encode())
            check(m.shell("cat /mnt/file") == "as it is\n", "the file reads differently")
            off(m)
        check(os.listdir(shared) == ["file"], "the folder has changed")


def test_two_on_pci():
    need_speed()
    with folder() as (directory, shared):
        os.mkdir(directory + "/two,and a comma")
        with boot(directory, "--bus", "pci", "--irqchip", "aia", "--cpus", "2", "--share", shared,
                  "--share", directory + "/two,and a comma,owner=1000:100", modules="virtiofs") as m:
            m.login()
            m.shell(MOUNT + "; mkdir /two; mount -t virtiofs share1 /two")
            m.shell("seq 30000 > /mnt/a; cp /mnt/a /two/b; cmp /mnt/a /two/b")
            check(m.shell("stat -c %u:%g /mnt/a /two/b") == "0:0\n1000:100\n",
                  m.shell("ls -ln /mnt /two"))
            check("MSI" in m.shell("grep virtio /proc/interrupts"), "no messages")
            off(m)


def test_daemon_ends():
    """Killed while the guest works, it costs the guest its folder and nothing else."""
    with folder() as (directory, shared), boot(directory, "--share", shared) as m:
        m.login()
        m.shell(MOUNT)
        # No child of the shell that is typed at: busybox's loses keys when a child ends meanwhile.
        m.shell("((while echo x; do :; done > /mnt/busy; echo over > /over) 2> /dev/null &)")
        pids = daemons(m)
        check(len(pids) == 1, "%d daemons" % len(pids))
        time.sleep(0.5)
        os.kill(pids[0], signal.SIGKILL)
        m.expect(rb"has ended; in the guest it is out of reach")
        m.shell("while ! [ -e /over ]; do sleep 0.1; done")
        code, said = m.shell_code("ls /mnt/")
        check(code and "Input/output error" in said, said)
        m.shell("umount /mnt")
        check(m.shell_code("mount -t virtiofs share /mnt && ls /mnt/")[0] != 0, "served by nobody")
        off(m)


def test_reboot():
    """A guest that starts anew while the folder is in use finds it as the first time."""
    with folder() as (directory, shared), boot(directory, "--share", shared) as m:
        m.login()
        m.shell(MOUNT + "; echo 1 > /mnt/file; tail -f /mnt/file > /dev/null & true")
        m.send(b"reboot -f\n")
        m.login()
        m.shell(MOUNT)
        check(m.shell("cat /mnt/file") == "1\n", "the file is not there")
        off(m)


def test_confined():
    """What the daemon has given up, as the kernel tells."""
    with folder() as (directory, shared), boot(directory, "--share", shared + ",readonly") as m:
        m.login()
        m.shell(MOUNT)
        pid = daemons(m)[0]
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        for key, want in (("Seccomp", "2"), ("NoNewPrivs", "1"), ("CapEff", "0" * 16),
                          ("CapPrm", "0" * 16)):
            check(status[key].strip() == want, "%s is %s" % (key, status[key]))
        threads = glob.glob("/proc/%d/task/*/status" % pid)
        for path in threads:
            with open(path, encoding="ascii") as file:
                check("\nSeccomp:\t2\n" in file.read(), "a thread is not confined")
        # Where users may have namespaces, the folder is all that there is.
        may = not subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL,
                                 check=False).returncode
        root = os.stat("/proc/%d/root/" % pid)
        here = os.stat(shared)
        if may:
            check((root.st_dev, root.st_ino) == (here.st_dev, here.st_ino), "it sees the host")
            with open("/proc/%d/mounts" % pid, encoding="utf-8") as file:
                mounts = file.read().splitlines()
            check(len(mounts) == 1 and " ro," in mounts[0], "\n".join(mounts))
        off(m)


AS_NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups"
NO_NAMESPACES = "unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"' sh"


def as_nobody(directory, before):
    """A program that runs guise as a user without rights."""
    path = directory + "/as_nobody"
    with open(path, "w", encoding="ascii") as file:
        file.write('#!/bin/sh\nexec %s %s %s/guise "$@"\n' % (AS_NOBODY, before, directory))
    os.chmod(path, 0o755)
    return path


def other_user(before):
    if os.getuid():
        raise harness.Skip("only root can be another user")
    if subprocess.run("%s cat %s" % (AS_NOBODY, harness.guest("kernel")), shell=True, check=False,
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        raise harness.Skip("another user cannot read " + harness.guest("kernel"))
    if before and subprocess.run(AS_NOBODY + " unshare -Ur true", shell=True, check=False,
                                 stderr=subprocess.DEVNULL).returncode:
        raise harness.Skip("users have no namespaces here (a chroot?)")
    with folder() as (directory, shared):
        os.chmod(directory, 0o755)
        os.chown(shared, 65534, 65534)
        for name in ("guise", "guise-fs"):
            shutil.copy(os.path.dirname(harness.guise) + "/" + name, directory)
        with boot(directory, "--share", shared, program=as_nobody(directory, before)) as m:
            m.login()
            m.shell(MOUNT)
            compare(m, "/mnt")
            off(m)
        owners = {os.lstat(path).st_uid for path in glob.glob(shared + "/**", recursive=True)}
        check(owners == {65534}, "owners %r" % owners)


def test_other_user():
    """Somebody who is not root."""
    other_user("")


def test_other_user_without_namespaces():
    """The same in a container that lets nobody have namespaces of their own."""
    other_user(NO_NAMESPACES)


def test_errors():
    with folder() as (directory, shared):
        kernel = ["run", *linux(), "--console", "none"]
        for spec, said in (("/no such folder", "no such folder: cannot be shared: No such file"),
                           (directory + "/folder,tag=" + 37 * "x", "must have 1 to 36 bytes"),
                           (shared + ",owner=me", "owner 'me' is not UID"),
                           (",readonly", "there is no folder"),
                           ("socket=" + shared + "/none", "no daemon can be reached"),
                           ("socket=x,readonly", "who listens at the socket decides")):
            code, _, err = run([*kernel, "--share", spec])
            check(code == 2 and said in text(err), "%s: %d" % (spec, code), err)
        code, _, err = run([*kernel, "--share", shared, "--deterministic"])
        check(code == 2 and "deterministic" in text(err), "%d" % code, err)
        # Somebody else at the socket, who says nothing that makes sense, or nothing at all.
        path = directory + "/peer"
        for answer in (b"GET / HTTP/1.0\r\n\r\n" * 100, b"\1\0\0\0\5\0\0\0\xff\xff\xff\xff",
                       b"\1\0\0\0\5\0\0\0\x08\0\0\0" + bytes(8), b""):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)
                listener.listen()
                process = subprocess.Popen([harness.guise, *kernel, "--share", "socket=" + path],
                                           stderr=subprocess.PIPE)
                peer, _ = listener.accept()
                peer.recv(12)
                peer.sendall(answer)
                peer.close()
                err = process.communicate(timeout=60 * harness.FACTOR)[1]
                check(process.returncode == 2 and b"back end" in err, "%r" % answer, err)
            os.unlink(path)


if __name__ == "__main__":
    harness.main(globals())
