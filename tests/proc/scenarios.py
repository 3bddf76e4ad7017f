#!/usr/bin/env python3
"""Debian's riscv64 programs at work under `guise exec`, many of which start others.

    tests/proc/scenarios.py GUISE [--engine NAME] [test_NAME...]

What they must write is known from other sources: written down here, computed by this Python, or
told by programs of this host. $GUISE_TEST_RUNNER is a command in place of `GUISE exec`: with
"qemu-riscv64 -L {root}" what starts no other program runs, too."""

import base64
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import shlex
import sys
import tarfile
import sqlite3
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
# pylint: disable=wrong-import-position
import harness
from harness import Skip, check, guest, main, need_speed, require_exec, run, text

SECONDS = 300


def words_of(program):
    """The command that starts a program of the sysroot, given below its /usr."""
    root = guest("programs")
    runner = os.environ.get("GUISE_TEST_RUNNER")
    if runner:
        prefix = shlex.split(runner.format(root=root))
    else:
        if run(["help", "exec"])[0]:
            raise Skip("this guise has no verb 'exec'")
        engine = ["--engine", harness.engine] if harness.engine else []
        prefix = [harness.guise, "exec", *engine, "--sysroot", root, "--"]
    return [*prefix, "%s/usr/%s" % (root, program)]


def environment(directory):
    root = guest("programs")
    library = root + "/usr/lib/riscv64-linux-gnu"
    perl = [root + "/usr/share/perl/5.40", library + "/perl/5.40", library + "/perl-base"]
    who = {"GIT_%s_%s" % (role, field): value for role in ("AUTHOR", "COMMITTER")
           for field, value in (("NAME", "A U Thor"), ("EMAIL", "author@example.com"),
                                ("DATE", "1700000000 +0000"))}
    return {"PATH": root + "/usr/bin", "HOME": directory, "LC_ALL": "C.UTF-8", "TZ": "UTC",
            "TMPDIR": directory, "PERL5LIB": ":".join(perl), "PYTHONDONTWRITEBYTECODE": "1",
            "GIT_EXEC_PATH": root + "/usr/lib/git-core", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TEMPLATE_DIR": "", "OPENSSL_CONF": "/dev/null", **who,
            **{name: value for name, value in os.environ.items()
               if name.startswith(("GUISE_CACHE", "ASAN_", "UBSAN_"))}}


class Place:
    """A directory in which programs run. Use it with `with`."""

    def __enter__(self):
        self.held = tempfile.TemporaryDirectory(prefix="guise-test-")
        self.path = self.held.name
        return self

    def __exit__(self, *_):
        self.held.cleanup()

    def write(self, name, data):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        return path

    def read(self, name):
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def run(self, program, *args, stdin=b"", code=0, errors=False):
        """The program's output. Its exit code must be this, and it must not complain."""
        command = words_of(program) + list(args)
        got, out, err = run(command[1:], SECONDS, stdin.encode() if isinstance(stdin, str) else stdin,
                            program=command[0], cwd=self.path, env=environment(self.path))
        check(got == code and (errors or not err), "%s ended with %d, not %d\n---- errors\n%s"
              % (shlex.join(command)[:500], got, code, text(err)), out)
        return out

    def expect(self, expected, program, *args, **more):
        out = self.run(program, *args, **more)
        if isinstance(expected, str):
            expected = expected.encode()
        check(out == expected, "%s wrote something else than\n%s"
              % (shlex.join([program, *args])[:500], text(expected)), out)


def sample(size, seed=1):
    """Text as compressors like it."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randrange(2, 9))) for _ in range(500)]
    out = []
    while size > 0:
        out.append(rng.choice(words) + ("\n" if rng.random() < 0.1 else " "))
        size -= len(out[-1])
    return "".join(out).encode()


# ---- shells -------------------------------------------------------------------------------------


def test_start():
    with Place() as place:
        place.expect("", "bin/true")
        place.expect("", "bin/false", code=1)
        place.expect("hello world\n", "bin/echo", "hello", "world")
        place.expect("", "bin/sh", "-c", "exit 42", code=42)
        place.expect("a b\n", "bin/sh", "-c", 'echo "$@"', "sh", "a", "b")
        place.expect("in\n", "bin/cat", stdin="in\n")
        place.expect("riscv64\n", "bin/uname", "-m")
        place.expect("6\n", "bin/busybox", "expr", "2", "*", "3")


def test_sh_pipelines():
    script = """
        i=0
        while [ $i -lt 300 ]; do echo "line $((i * 7919 % 300))"; i=$((i + 1)); done |
            sort -k2,2n | uniq -c | awk_ '$1 != 1 { print "twice", $3 } END { print NR, $3 }'
        printf 'c\\nb\\na\\n' | sort | tr a-c A-C | paste -s -d,
        seq 1 1000 | grep 7 | wc -l
        echo "$(echo inner "$(echo most)")" | sed 's/inner/outer/'
        (exit 3); echo "code $?"
        false || echo or && echo and
        cat <<END | rev_
here is $((6 * 7))
END
        for f in one two three; do echo "$f" >"$f"; done; ls | xargs -n 2 echo; cat one two three | sort -r
        { echo out; echo err >&2; } 2>&1 | cat -n
        trap 'echo trapped' USR1; kill -USR1 $$; echo after
        sleep 0.01 & wait $!; echo "waited $?"
        sh -c 'kill -TERM $$'; echo "killed $?"
        exec 3<one; read x <&3; echo "read $x"
        find . -name 't*' | sort; test -f one -a ! -d one && echo file
        set -- a "b c" d; echo $# "$2"
        head -c 100000 /dev/zero | md5sum | cut -c1-8
        dd if=/dev/zero bs=1000 count=5 2>/dev/null | od -An -c | head -n 1
    """.replace("awk_", "mawk").replace("rev_", "perl -ne 'chomp; print scalar reverse, qq(\\n)'")
    expected = """300 299
A,B,C
271
outer most
code 3
or
and
24 si ereh
one three
two
two
three
one
     1\tout
     2\terr
trapped
after
waited 0
killed 143
read one
./three
./two
file
3 b c
%s
  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0  \\0
""" % hashlib.md5(bytes(100000)).hexdigest()[:8]
    for shell in ("dash", "bash"):
        with Place() as place:
            # A shell says there that a child was killed.
            place.expect(expected, "bin/" + shell, "-c", script, errors=True)


def test_scripts():
    """Files that begin with #!, programs found by $PATH, what exec does when there is none."""
    with Place() as place:
        root = guest("programs")
        for name, shebang, body in (("shell", "/usr/bin/sh", 'echo "shell $0 $*"\n'),
                                    ("perl", "/usr/bin/perl -w", 'print "perl @ARGV\\n";\n'),
                                    ("none", "/nonexistent/program", "\n")):
            os.chmod(place.write(name, "#!%s%s\n%s" % (root if name != "none" else "", shebang, body)),
                     0o755)
        place.expect("shell ./shell 1 2\nperl 3 4\n", "bin/sh", "-c", "./shell 1 2; ./perl 3 4")
        place.expect("127\n127\n126\n", "bin/sh", "-c",
                     "./missing 2>/dev/null; echo $?; ./none 2>/dev/null; echo $?; "
                     "echo x >plain; ./plain 2>/dev/null; echo $?")
        place.expect("env\nlast\n", "bin/env", "-i", "PATH=" + root + "/usr/bin", "sh", "-c",
                     "env echo env; exec echo last")
        place.expect("5\n", "bin/sh", "-c", "sh -c 'sh -c \"sh -c \\\"exit 5\\\"\"'; echo $?")


def test_busybox():
    with Place() as place:
        place.write("file", sample(20000))
        digest = hashlib.sha256(sample(20000)).hexdigest()
        place.expect("%s  file\n" % digest, "bin/busybox", "sha256sum", "file")
        place.expect("%s  -\n3\n" % digest, "bin/busybox", "sh", "-c",
                     "gzip -c file | gunzip | sha256sum; echo a b c | wc -w")


# ---- languages ----------------------------------------------------------------------------------


PYTHON = '''
import ctypes, decimal, hashlib, json, multiprocessing, os, queue, re, signal, socket, sqlite3
import subprocess, sys, tempfile, threading, time, zlib

def work(jobs, results):
    while (n := jobs.get()) is not None:
        results.put((n, hashlib.sha256(b"%d" % n * 1000).hexdigest()[:8]))

jobs, results = queue.Queue(), queue.Queue()
threads = [threading.Thread(target=work, args=(jobs, results)) for _ in range(8)]
for thread in threads: thread.start()
for n in range(200): jobs.put(n)
for _ in threads: jobs.put(None)
for thread in threads: thread.join()
print("threads", hashlib.sha256(repr(sorted(results.get() for _ in range(200))).encode()).hexdigest()[:8])

data = {"a": [1, 2.5, None, True, "\\u00e9"], "b": {str(i): i ** 20 for i in range(50)}}
assert json.loads(json.dumps(data)) == data
print("json", zlib.crc32(json.dumps(data, sort_keys=True).encode()))
print("subprocess", subprocess.run([sys.executable, "-S", "-c", "print(6 * 7)"], capture_output=True,
                                   text=True, check=True).stdout.strip())
print("shell", subprocess.check_output("echo $0 | tr s S", shell=True, text=True).strip()[-2:])
try:
    subprocess.run(["/nonexistent"], check=False)
except FileNotFoundError as error:
    print("missing", error.errno)
print("killed", subprocess.run(["sleep", "100"], timeout=None, check=False, preexec_fn=lambda: signal.alarm(1)).returncode)
read, write = os.pipe()
if not os.fork():
    os.write(write, b"child")
    os._exit(3)
print("fork", os.read(read, 10), os.waitstatus_to_exitcode(os.wait()[1]))
database = sqlite3.connect(":memory:")
database.execute("create table t (a, b)")
database.executemany("insert into t values (?, ?)", [(i, str(i) * 3) for i in range(1000)])
print("sqlite", database.execute("select sum(a), max(b) from t where a % 7 = 0").fetchone())
print("regex", len(re.findall(r"(\\w+)@(\\w+)\\.com", "me@here.com you@there.com " * 50)))
print("decimal", decimal.Decimal(2).sqrt() + decimal.Decimal("1e-20"), 0.1 + 0.2, 2 ** 200 % 1000007)
left, right = socket.socketpair()
left.sendall(b"x" * 5000)
print("socket", len(right.recv(10000)))
with tempfile.NamedTemporaryFile() as file:
    file.write(b"temporary"); file.flush()
    print("file", os.stat(file.name).st_size)
caught = []
signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
end = time.monotonic() + 20
while len(caught) < 5 and time.monotonic() < end: sum(range(1000))
signal.setitimer(signal.ITIMER_REAL, 0)
print("signals", len(caught) >= 5)
libc = ctypes.CDLL(None)
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 5)(5, 1, 4, 2, 3)
libc.qsort(numbers, 5, 4, compare(lambda a, b: a[0] - b[0]))
print("ctypes", list(numbers))
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print("pool", sum(pool.map(abs, range(-50, 50))))
print("machine", os.uname().machine, sys.byteorder)
'''


def test_python():
    words = hashlib.sha256(repr(sorted(
        (n, hashlib.sha256(b"%d" % n * 1000).hexdigest()[:8]) for n in range(200))).encode())
    data = {"a": [1, 2.5, None, True, "\u00e9"], "b": {str(i): i ** 20 for i in range(50)}}
    crc = zlib.crc32(json.dumps(data, sort_keys=True).encode())
    with Place() as place:
        place.write("script.py", PYTHON)
        place.expect("\n".join((
            "threads " + words.hexdigest()[:8], "json %d" % crc, "subprocess 42", "shell Sh",
            "missing 2", "killed -14", "fork b'child' 3", "sqlite (71071, '994994994')", "regex 100",
            "decimal 1.414213562373095048811688724 0.30000000000000004 %d" % (2 ** 200 % 1000007),
            "socket 5000", "file 9", "signals True", "ctypes [1, 2, 3, 4, 5]", "pool 2500",
            "machine riscv64 little", "")), "bin/python3", "script.py")


EXEC = """
import os, shutil, sys
def end(work):
    child = os.fork()
    if not child:
        try:
            work()
        except OSError as error:
            os._exit(error.errno)
        os._exit(99)
    return os.waitstatus_to_exitcode(os.wait()[1])
print("missing", end(lambda: os.execv("/nonexistent/program", ["x"])))
print("directory", end(lambda: os.execv("/", ["x"])))
open("empty", "w").close(); os.chmod("empty", 0o755)
print("empty", end(lambda: os.execv("./empty", ["x"])))
os.chmod("empty", 0o644)
print("mode", end(lambda: os.execv("./empty", ["x"])))
print("name", end(lambda: os.execv(sys.argv[1] + "/false", ["another name"])))
print("long", end(lambda: os.execv(sys.argv[1] + "/true", ["x"] + ["y" * 1000] * 1000)))
print("too long", end(lambda: os.execv(sys.argv[1] + "/true", ["x", "y" * 140000])))
memory = os.memfd_create("program", 0)
with open(sys.argv[1] + "/false", "rb") as file:
    os.write(memory, file.read())
print("memory", end(lambda: os.execve(memory, ["x"], {})))
shutil.copy(sys.argv[1] + "/false", "gone")
gone = os.open("gone", os.O_RDONLY)
os.unlink("gone")
print("deleted", end(lambda: os.execve(gone, ["x"], {})))
"""


def test_exec():
    """What can be executed, and the errors of what cannot."""
    with Place() as place:
        place.write("script.py", EXEC)
        place.expect("missing 2\ndirectory 13\nempty 8\nmode 13\nname 1\nlong 0\ntoo long 7\nmemory 1\n"
                     "deleted 1\n", "bin/python3", "-W", "ignore", "script.py",
                     guest("programs") + "/usr/bin")


def test_chroot():
    """After a change of the root, files are looked for there."""
    script = """
import os, sys
if not os.fork():
    os.chroot(sys.argv[1])
    os.chdir("/")
    os.execv("/usr/bin/sh", ["sh", "-c", "pwd; cd /usr/bin && pwd"])
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    if os.geteuid():
        raise Skip("only root can chroot")
    with Place() as place:
        place.expect("/\n/usr/bin\n", "bin/python3", "-W", "ignore", "-c", script, guest("programs"))


def test_python_asyncio():
    need_speed()
    script = """
import asyncio, sys
async def main():
    server = await asyncio.start_server(lambda r, w: serve(r, w), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
    globals()["serve"] = serve
    async def ask(n):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello %d\\n" % n)
        answer = await reader.readline()
        writer.close()
        return answer
    answers = await asyncio.gather(*(ask(n) for n in range(50)))
    print(len(answers), sorted(answers)[7])
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    print((await process.communicate(b"through cat"))[0])
asyncio.run(main())
"""
    with Place() as place:
        place.expect("50 b'HELLO 15\\n'\nb'through cat'\n", "bin/python3", "-c", script)


def test_perl():
    script = r"""
use strict; use warnings; use List::Util qw(sum); use POSIX qw(:sys_wait_h floor);
my %h = map { $_ => $_ ** 2 } 1 .. 100;
print "sum ", sum(values %h), "\n";
my $t = join ' ', map { "w$_" } 1 .. 50; (my $u = $t) =~ s/w(\d)(\d)?/defined $2 ? "$2$1" : "<$1>"/ge;
print substr($u, 0, 40), "\n";
print "backticks ", `echo from shell`;
my $pid = fork // die; if (!$pid) { exit 9 } waitpid($pid, 0); print "child ", $? >> 8, "\n";
open(my $p, '-|', 'printf "1\n2\n3\n"') or die; print "pipe ", sum(<$p>), "\n"; close $p;
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; 1 while 1 }; print "eval $@";
printf "%.3f %s %d\n", floor(-2.5) + sqrt(2), sprintf('%vd', v1.22.333), hex 'ff';
print join(',', sort { $a <=> $b } map { ($_ * 37) % 101 } 1 .. 20), "\n";
local $SIG{SEGV} = sub { print "never\n" }; print "pack ", unpack('H*', pack('NnC', 1, 2, 3)), "\n";
system('exit 4;'); print "system ", $? >> 8, "\n";
"""
    with Place() as place:
        place.expect("\n".join((
            "sum 338350", "<1> <2> <3> <4> <5> <6> <7> <8> <9> 01 1", "backticks from shell", "child 9",
            "pipe 6", "eval alarm", "-1.586 1.22.333 255",
            ",".join(map(str, sorted(n * 37 % 101 for n in range(1, 21)))), "pack 00000001000203",
            "system 4", "")), "bin/perl", "-e", script)


def test_lua_awk_jq():
    with Place() as place:
        place.expect("5050\tnil\t3.5\n", "bin/lua5.4", "-e",
                     "local s = 0 for i = 1, 100 do s = s + i end print(s, ({})[1], 7 / 2)")
        place.expect("lua: (command line):1: bad\n", "bin/sh", "-c",
                     "lua5.4 -e 'error(\"bad\")' 2>&1 | head -n 1 | sed s/lua5.4/lua/")
        for awk in ("mawk", "gawk"):
            place.expect("3 6 2.00\n", "bin/" + awk,
                         '{ s += $1 } END { "echo x" | getline; printf "%d %d %.2f\\n", NR, s, s / NR }',
                         stdin="1\n2\n3\n")
        value = [{"n": n, "s": "x" * (n % 5)} for n in range(100)]
        sums = {str(length): sum(range(length, 100, 5)) for length in range(5)}
        place.expect(json.dumps(sums, separators=(",", ":")) + "\n", "bin/jq", "-cS",
                     "map({(.s|length|tostring): .n}) | map(to_entries[]) | "
                     "group_by(.key) | map({(.[0].key): (map(.value) | add)}) | add",
                     stdin=json.dumps(value))


def test_sqlite():
    with Place() as place:
        place.expect("1000|499500\n", "bin/sqlite3", "-batch", "data.db", stdin="""
            create table t (a integer primary key, b text);
            with recursive n(i) as (select 0 union all select i + 1 from n where i < 999)
                insert into t select i, hex(i) from n;
            select count(*), sum(a) from t;""")
        place.expect("ok\n5|35\nwal\n", "bin/sqlite3", "-batch", "data.db",
                     "pragma integrity_check; select a, b from t where a = 5; pragma journal_mode=wal;")
        with sqlite3.connect(os.path.join(place.path, "data.db")) as connection:
            check(connection.execute("select max(b) from t").fetchone() == ("393939",),
                  "the database is not what was written")


# ---- archives and hashes ------------------------------------------------------------------------


def test_xz_gzip_zstd_bzip2():
    need_speed()
    data = sample(150000)
    with Place() as place:
        packed = place.run("bin/xz", "-T1", "-c", stdin=data)
        check(lzma.decompress(packed) == data, "xz wrote something else")
        place.expect(data, "bin/xz", "-dc", stdin=lzma.compress(data))
        packed = place.run("bin/xz", "-T4", "--block-size=50000", "-c", stdin=data)
        check(lzma.decompress(packed) == data, "xz with threads wrote something else")
        place.expect(data, "bin/gzip", "-dc", stdin=gzip.compress(data))
        check(gzip.decompress(place.run("bin/gzip", "-9c", stdin=data)) == data, "gzip is wrong")
        for level in ("-1", "-19", "-T3"):
            place.expect(data, "bin/zstd", "-dc", stdin=place.run("bin/zstd", level, "-qc", stdin=data))
        place.expect(data, "bin/bzip2", "-dc", stdin=place.run("bin/bzip2", "-c", stdin=data))
        place.write("bad.xz", lzma.compress(data)[:-20] + bytes(20))
        place.run("bin/xz", "-t", "bad.xz", code=1, errors=True)


def test_tar():
    with Place() as place:
        for number in range(100):
            place.write("tree/%d/file%d" % (number % 7, number), sample(number * 100, number + 1))
        os.symlink("0/file0", place.path + "/tree/link")
        os.link(place.path + "/tree/1/file1", place.path + "/tree/hard")
        os.mkfifo(place.path + "/tree/fifo")
        os.chmod(place.path + "/tree/2/file2", 0o4751)
        place.run("bin/tar", "-cf", "one.tar", "--sort=name", "tree")
        with tarfile.open(place.path + "/one.tar") as archive:
            names = archive.getnames()
            check(len(names) == 100 + 7 + 1 + 3, "%d members" % len(names))
            check(archive.extractfile("tree/3/file3").read() == sample(300, 4), "a file differs")
            # The names are in order: file1 comes before the second name of the same file.
            check(archive.getmember("tree/hard").islnk(), "no hard link")
        place.run("bin/tar", "-czf", "two.tar.gz", "-C", "tree", ".")
        os.mkdir(place.path + "/again")
        place.run("bin/tar", "-xpzf", "two.tar.gz", "-C", "again")
        place.expect("", "bin/diff", "-r", "--no-dereference", "-x", "fifo", "tree", "again")
        place.expect("4751\n", "bin/stat", "-c", "%a", "again/2/file2")
        with tarfile.open(fileobj=io.BytesIO(place.run("bin/tar", "-cJf", "-", "tree/1")),
                          mode="r:xz") as archive:
            check(len(archive.getnames()) == 16, "%d members" % len(archive.getnames()))


def test_openssl():
    need_speed()
    data = sample(150000)
    with Place() as place:
        place.write("data", data)
        for name in ("md5", "sha1", "sha256", "sha512", "sha3-256", "blake2b512"):
            digest = hashlib.new(name.replace("-", "_").replace("blake2b512", "blake2b"), data)
            place.expect("%s *data\n" % digest.hexdigest(), "bin/openssl", "dgst", "-" + name, "-r",
                         "data")
        for cipher in ("aes-256-cbc", "chacha20", "aes-128-ctr"):
            key = ["-K", "00112233" * 8 if cipher != "aes-128-ctr" else "00112233" * 4,
                   "-iv", "01" * 16]
            packed = place.run("bin/openssl", "enc", "-" + cipher, *key, stdin=data)
            place.expect(data, "bin/openssl", "enc", "-d", "-" + cipher, *key, stdin=packed)
        place.run("bin/openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                  "-out", "key")
        place.run("bin/openssl", "pkey", "-in", "key", "-pubout", "-out", "public")
        place.run("bin/openssl", "dgst", "-sha256", "-sign", "key", "-out", "signature", "data")
        place.expect("Verified OK\n", "bin/openssl", "dgst", "-sha256", "-verify", "public",
                     "-signature", "signature", "data")


def test_coreutils():
    data = sample(200000)
    lines = data.decode().splitlines()
    with Place() as place:
        place.write("data", data)
        place.expect("\n".join(sorted(lines)) + "\n", "bin/env", "LC_ALL=C", "sort", "data")
        place.expect("\n".join(sorted(set(lines))) + "\n", "bin/env", "LC_ALL=C", "sort", "-u",
                     "--parallel=4", "-S", "100K", "data")
        for option, count in (("-l", data.count(b"\n")), ("-w", len(data.split())),
                              ("-c", len(data))):
            place.expect("%d data\n" % count, "bin/wc", option, "data")
        word = lines[0].split()[0]
        place.expect("".join("%d:%s\n" % (number + 1, line) for number, line in enumerate(lines)
                             if word in line), "bin/grep", "-n", word, "data")
        place.expect("", "bin/cp", "-a", "data", "copy")
        place.expect("", "bin/cmp", "data", "copy")
        place.expect("data\n", "bin/ls", "data")
        place.expect(base64.b64encode(data[:3000]), "bin/base64", "-w0", stdin=data[:3000])
        place.expect("9.332621544e+157\n", "bin/printf", "%.9e\n", "9.33262154439441e157")
        place.expect("2001-09-09 01:46:40\n", "bin/date", "-u", "-d", "@1000000000", "+%F %T")
        place.expect("12: 2 2 3\n18446744073709551557: 18446744073709551557\n", "bin/factor", "12",
                     "18446744073709551557")
        place.expect("timeout 124\n", "bin/sh", "-c", "timeout 0.2 sleep 20; echo timeout $?")


# ---- git and gcc ----------------------------------------------------------------------------------


def test_git():
    with Place() as place:
        place.run("bin/git", "init", "-q", "-b", "main", "repository")
        place.write("repository/one", sample(5000))
        place.write("repository/sub/two", "two\n")
        git = ("bin/git", "-C", "repository")
        place.run(*git, "add", ".")
        place.run(*git, "commit", "-q", "-m", "First")
        place.write("repository/sub/two", "two\nand more\n")
        place.run(*git, "commit", "-q", "-a", "-m", "Second")
        out = place.run(*git, "log", "--format=%s %an %ad", "--date=iso")
        check(out == b"Second A U Thor 2023-11-14 22:13:20 +0000\nFirst A U Thor "
              b"2023-11-14 22:13:20 +0000\n", "another log", out)
        blob = b"two\nand more\n"
        digest = hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()
        place.expect(digest + "\n", *git, "rev-parse", "HEAD:sub/two")
        place.expect("", *git, "status", "--short")
        place.expect(" sub/two | 1 +\n 1 file changed, 1 insertion(+)\n", *git, "diff", "--stat",
                     "HEAD~1")
        place.run("bin/git", "clone", "-q", "repository", "clone")
        place.run(*git, "gc", "-q")
        place.expect("", *git, "fsck", "--no-progress")
        place.run(*git, "checkout", "-q", "-b", "topic", "HEAD~1")
        place.write("repository/three", "3\n")
        place.run(*git, "add", "three")
        place.run(*git, "commit", "-q", "-m", "Third")
        place.run(*git, "rebase", "-q", "main")
        place.expect("Third\nSecond\nFirst\n", *git, "log", "--format=%s")


PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(int argc, char **argv)
{
    int v[100];
    for (int i = 0; i < 100; i++)
        v[i] = (i * 7919 + argc) % 101;
    qsort(v, 100, sizeof(v[0]), compare);
    printf("%d %d %s %.3f\\n", v[0], v[99], argv[1], v[50] / 3.0);
    return 7;
}
"""


def test_gcc():
    """The compiler, the assembler and the linker, and what they make."""
    with Place() as place:
        root = guest("programs")
        place.write("program.c", PROGRAM)
        common = ("-O2", "-Wall", "--sysroot=" + root, "program.c")
        # gcc takes the assembler and the linker from $PATH.
        place.run("bin/riscv64-linux-gnu-gcc-14", *common, "-o", "program", "-static")
        value = [(i * 7919 + 2) % 101 for i in range(100)]
        value.sort()
        expected = "%d %d word %.3f\n" % (value[0], value[99], value[50] / 3)
        place.expect(expected + "7\n", "bin/sh", "-c", "./program word; echo $?")
        place.run("bin/riscv64-linux-gnu-gcc-14", *common, "-o", "program")
        place.expect(expected, "bin/sh", "-c", "LD_LIBRARY_PATH=%s/usr/lib/riscv64-linux-gnu "
                     "./program word || true" % root)
        assembly = place.run("bin/riscv64-linux-gnu-gcc-14", *common, "-S", "-o", "-")
        check(b"qsort" in assembly and b".size\tmain" in assembly, "no assembly", assembly)
        place.run("bin/riscv64-linux-gnu-gcc-14", "-fsyntax-only", "-xc", "-", stdin="int f(void {",
                  code=1, errors=True)


def test_make():
    with Place() as place:
        place.write("Makefile", "all: $(foreach n,1 2 3 4 5 6 7 8,out$(n))\n\t@cat out*\n"
                    "out%:\n\t@sleep 0.0$*; echo $* >$@\n")
        place.expect("".join("%d\n" % n for n in range(1, 9)), "bin/make", "-j4", "-s")


if __name__ == "__main__":
    require_exec(sys.argv[1])
    main(globals())
