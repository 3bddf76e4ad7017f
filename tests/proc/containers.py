#!/usr/bin/env python3
"""Containers of riscv64 images: podman runs and builds them by guise as the kernel's handler.

    tests/proc/containers.py GUISE [test_NAME...]

podman is in a user namespace with a binfmt_misc of its own and all of the machine's users: neither
the machine's handlers nor its images are touched. That needs root."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
# pylint: disable=wrong-import-position
import harness
from harness import FACTOR, Failure, Skip, guest, main, require_exec, scratch, text, tool

SECONDS = 300
# Waits until it has users; then is a machine of its own, as far as podman can tell.
BEGIN = r"""
read -r _
mount -t proc proc /proc && mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc &&
%(guise)s binfmt install || exit 77
podman() {
    command podman --root "$PWD/store" --runroot "$PWD/run" --tmpdir "$PWD/tmp" %(runtime)s \
        --events-backend=none --cgroup-manager=cgroupfs --storage-driver=vfs "$@"
}
run() {
    podman run --rm --network=none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 "$@"
}
podman import --quiet --arch riscv64 image.tar one >/dev/null || exit 77
"""
BUILD = """\
FROM one
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN uname -m >/machine && mkdir -p /a/b && echo text >/a/b/c
RUN for i in $(seq 20); do echo $i | sha256sum; done | sort | sha256sum >/sums
COPY script /bin/script
USER 1000:1000
RUN script >/tmp/who
CMD ["cat", "/machine", "/a/b/c", "/sums", "/tmp/who"]
"""


class Place:
    """A directory with an image, and a way to run shell scripts with podman there."""

    def __enter__(self):
        tool("podman")
        if os.geteuid() != 0:
            raise Skip("podman gets users of its own here, which needs root")
        self.held = scratch()
        self.path = os.path.realpath(self.held.name)
        root = self.path + "/image/"
        for name, mode in ("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777):
            os.makedirs(root + name)
            os.chmod(root + name, mode)
        shutil.copy(guest("programs") + "/usr/bin/busybox", root + "bin/busybox")
        os.symlink("busybox", root + "bin/sh")
        with tarfile.open(self.path + "/image.tar", "w") as tar:
            tar.add(root, arcname=".", filter=self.owned)
        return self

    @staticmethod
    def owned(info):
        info.uid = info.gid = 0
        return info

    def __exit__(self, *_):
        self.held.cleanup()

    def run(self, script):
        """(exit code, output) of a script of bash."""
        # crun refuses hosts that have both versions of cgroups.
        runtime = "--runtime=runc" if shutil.which("runc") else ""
        begin = BEGIN % {"guise": shlex.quote(harness.guise), "runtime": runtime}
        command = [tool("unshare"), "--user", "--mount", "--pid", "--ipc", "--uts", "--fork",
                   "--kill-child", "bash", "-c", begin + script]
        environment = {**os.environ, "GUISE_CACHE": ""}
        process = subprocess.Popen(command, cwd=self.path, env=environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        harness.wait_until(lambda: os.readlink("/proc/%d/ns/user" % process.pid)
                           != os.readlink("/proc/self/ns/user"), "no user namespace")
        for name in "uid_map", "gid_map":
            with open("/proc/%d/%s" % (process.pid, name), "w", encoding="ascii") as file:
                file.write("0 0 65536\n")
        try:
            out = text(process.communicate(b"\n", SECONDS * FACTOR)[0])
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure("no end of\n%s" % script) from None
        if process.returncode == 77:
            raise Skip("no podman in a user namespace with binfmt_misc here: " + out.strip())
        return process.returncode, out

    def expect(self, expected, script, code=0):
        found, out = self.run(script)
        if out != expected or found != code:
            raise Failure("%s\nended with %d, not %d\n---- expected\n%s---- output\n%s"
                          % (script, found, code, expected, out))


def test_run():
    with Place() as place:
        place.expect("riscv64\n", "run --arch=riscv64 one busybox uname -m")
        place.expect("riscv64 /bin/busybox 1\nthrough\n", "echo through | run -i --platform="
                     "linux/riscv64 one sh -c 'echo $(busybox uname -m) "
                     "$(busybox readlink /proc/self/exe) $$; busybox cat; exit 3'", 3)


def test_exec():
    """In a container that runs; the names of programs are not guise's for others either."""
    with Place() as place:
        place.expect("sleep\n1000\nriscv64\n",
                     "run --arch=riscv64 --name=it -d one busybox sleep 1000 >/dev/null && "
                     "podman exec it sh -c 'busybox tr \"\\0\" \"\\n\" </proc/1/cmdline | "
                     "busybox tail -n 2' && podman exec it busybox uname -m; "
                     "podman rm --force --time 0 it >/dev/null")


def test_build():
    sums = sorted("%s  -\n" % hashlib.sha256(b"%d\n" % i).hexdigest() for i in range(1, 21))
    summed = hashlib.sha256("".join(sums).encode()).hexdigest()
    with Place() as place:
        with open(place.path + "/Containerfile", "w", encoding="ascii") as file:
            file.write(BUILD)
        with open(place.path + "/script", "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nid -u\n")
        os.chmod(place.path + "/script", 0o755)
        place.expect("riscv64\ntext\n%s  -\n1000\n" % summed,
                     "podman build --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 "
                     "--network=none --arch=riscv64 -t two -f Containerfile . >log 2>&1 || "
                     "cat log; run --arch=riscv64 two")


if __name__ == "__main__":
    require_exec(sys.argv[1])
    main(globals())
