"""Debian's own programs as processes: what each does, on which input, and how a system runs it.

The riscv64 programs and the native ones are the same versions of the same packages (tools/guest
programs). Inputs are generated from fixed seeds, so that everyone measures the same. A program's
output is what must be equal everywhere, byte for byte; its hash is the result's checksum.

Programs run by name below a root: nothing here needs to be root or changes the host."""

import fcntl
import glob
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import namedtuple

from common import ROOT, BenchError, guest
from programs import SILENCE, Program, Result

SCRIPTS = ROOT + "/bench/debian"
# Raised by one when what generate() makes changes.
INPUTS = 1

# words: program below the root, then arguments; {0} is the scale, a percentage, {name} an input, and
# {root} the root of the system that runs it. stdin: an input. repeat: so many runs, timed as one.
Work = namedtuple("Work", "words stdin repeat", defaults=(None, 1))

PROGRAMS = {
    "xz": Work("usr/bin/xz -6 -T1 -c {text6}"),
    "gzip": Work("usr/bin/gzip -9 -n -c {text20}"),
    "zstd": Work("usr/bin/zstd -q -12 --single-thread -c {text6}"),
    "sha512": Work("usr/bin/openssl dgst -sha512 -r", "text300"),
    "python3": Work("usr/bin/python3 -S -E {scripts}/script.py {text20} {0}"),
    "lua": Work("usr/bin/lua5.4 {scripts}/script.lua {0}"),
    "perl": Work("usr/bin/perl {scripts}/script.pl {text20} {0}"),
    "sqlite": Work("usr/bin/sqlite3 -batch -init /dev/null :memory:", "sql"),
    "cc1": Work("{cc1} -quiet -O2 -march=rv64gc -mabi=lp64d -fno-pie {c} -o -"),
    "git": Work("usr/bin/git --git-dir={repository} log -p --stat --no-color main"),
    "tar": Work("usr/bin/tar -c --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 "
                "--format=gnu -C {files} ."),
    "grep": Work("usr/bin/grep -n -E (un|re)[a-z]+(ing|ed)|\\b[aeiou]{{2,}}[a-z]*\\b {text100}"),
    "sort": Work("usr/bin/sort --parallel=1 -S 50% -k 2,2 -k 4,4r {text20}"),
    "mawk": Work("usr/bin/mawk -f {scripts}/words.awk {text12}"),
    "gawk": Work("usr/bin/gawk -f {scripts}/words.awk {text6}"),
    "jq": Work("usr/bin/jq -S map(select(.half>10))|group_by(.words|length)|"
               "map({{n:length,sum:(map(.half)|add),w:(map(.words[0])|unique|length)}}) {json}"),
}
STARTS = {
    "true": Work("usr/bin/true", repeat=40),
    "sh-c-true": Work("usr/bin/sh -c true", repeat=30),
    "python3-pass": Work("usr/bin/python3 -c pass", repeat=5),
}
ALL = {**PROGRAMS, **STARTS}

# How much work, in percent of the full scale.
SCALES = {"full": 100, "quick": 20, "tiny": 4}


def catalogue():
    programs = {name: Program(name, "debian", 1, *SCALES.values()) for name in PROGRAMS}
    programs.update({name: Program(name, "start", 1, *SCALES.values()) for name in STARTS})
    return programs


# ---- input ----------------------------------------------------------------------------------------


def make_words(rng):
    starts = ("un re in de con per st tr b c d f g h l m n p s t w".split())
    middles = "a e i o u ea ou ie an en on er ar al".split()
    ends = "ing ed er ly tion ment s t n th ll ck ".split(" ")
    return ["".join((rng.choice(starts), rng.choice(middles),
                     rng.choice(starts) + rng.choice(middles) if rng.random() < 0.4 else "",
                     rng.choice(ends))) for _ in range(6000)] + ["the", "and", "of", "to", "it"]


def make_text(rng, size):
    """Lines of words, frequent and rare ones as in a language."""
    words = make_words(rng)
    rng.shuffle(words)
    weights = [1 / (rank + 3) for rank in range(len(words))]
    lines, total = [], 0
    while total < size:
        row = rng.choices(words, weights, k=4096)
        while row:
            count = rng.randrange(6, 14)
            line = " ".join(row[:count]) + rng.choice((".", ".", ",", ""))
            del row[:count]
            lines.append(line)
            total += len(line) + 1
    return ("\n".join(lines) + "\n").encode()[:size - 1] + b"\n"


def make_expression(rng, depth):
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(("a", "b", "t->count", "t->next->mask", "v[i & 15]", str(rng.randrange(99))))
    left, right = make_expression(rng, depth - 1), make_expression(rng, depth - 1)
    return rng.choice(("(%s + %s)", "(%s - %s)", "(%s * %s)", "(%s ^ %s)", "(%s & %s)",
                       "((unsigned)%s >> (%s & 7))", "(%s < %s ? a : b)")) % (left, right)


def make_c(rng, functions):
    """Functions with loops, switches, structures and calls of each other."""
    parts = ["struct t { struct t *next; int count; unsigned mask; double weight; };\n"]
    for number in range(functions):
        cases = "".join("        case %d: r += %s; break;\n" % (case, make_expression(rng, 2))
                        for case in range(rng.randrange(3, 9)))
        call = "f%d(t, r, a)" % rng.randrange(number) if number else "a"
        parts.append(
            "int f%d(struct t *t, int a, int b)\n{\n"
            "    int i = 0, v[16] = {0}, r = %s;\n"
            "    for (; i < a; i++) {\n"
            "        v[i & 15] += %s;\n"
            "        switch (v[i & 15] & 15) {\n%s        default: r ^= %s;\n        }\n"
            "        t->weight = t->weight * 0.5 + r;\n"
            "        if (%s > %s)\n            t = t->next;\n"
            "    }\n"
            "    for (i = 0; i < 16; i++)\n        r += v[i] * %s;\n"
            "    return r %% 7 ? r : %s;\n}\n"
            % (number, make_expression(rng, 3), make_expression(rng, 3), cases,
               make_expression(rng, 2), make_expression(rng, 2), make_expression(rng, 2),
               make_expression(rng, 1), call))
    return "".join(parts).encode()


def make_history(rng, commits):
    """A stream for git fast-import: two files of some thousand lines, changed again and again."""
    words = make_words(rng)
    files = {name: [" ".join(rng.choices(words, k=8)) for _ in range(1500)] for name in ("one", "two")}
    stream = []
    for number in range(commits):
        name = rng.choice(sorted(files))
        for _ in range(12):
            line = rng.randrange(len(files[name]))
            files[name][line] = " ".join(rng.choices(words, k=8))
        if number % 3 == 0:
            files[name].insert(rng.randrange(len(files[name])), "a new line " + rng.choice(words))
        message = "Change %s, number %d\n" % (name, number)
        data = "\n".join(files[name]) + "\n"
        stream.append("commit refs/heads/main\ncommitter A U Thor <author@example.com> %d +0000\n"
                      "data %d\n%sM 100644 inline %s\ndata %d\n%s\n"
                      % (1700000000 + 3600 * number, len(message), message, name, len(data), data))
    return "".join(stream).encode()


def make_json(rng, count):
    words = make_words(rng)
    return json.dumps([{"id": number, "half": number / 2,
                        "words": rng.choices(words, k=rng.randrange(1, 9))}
                       for number in range(count)]).encode()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def generate(directory, percent, native):
    def amount(full):
        return max(1, full * percent // 100)

    text = make_text(random.Random(1), amount(12000000))
    for share in (6, 12, 20, 100):
        write(directory + "/text%d" % share, text[:len(text) * share // 100])
    write(directory + "/text300", text * 3)
    write(directory + "/input.c", make_c(random.Random(2), amount(6)))
    write(directory + "/json", make_json(random.Random(3), amount(5000)))
    with open(SCRIPTS + "/query.sql", "rb") as file:
        write(directory + "/sql", file.read().replace(b"SCALE", b"%d" % percent))
    os.makedirs(directory + "/files")
    rng = random.Random(4)
    for number in range(amount(8000)):
        folder = "%s/files/%02d/%02d" % (directory, number % 17, number % 23)
        os.makedirs(folder, exist_ok=True)
        at = rng.randrange(len(text))
        write("%s/%d" % (folder, number), text[at:at + rng.choice((10, 100, 1000, 5000, 40000))])
        os.chmod("%s/%d" % (folder, number), 0o644)
    for folder, _, _ in os.walk(directory + "/files"):
        os.chmod(folder, 0o755)
    for words, stdin in (("init -q --bare -b main repository", b""),
                         ("--git-dir=repository fast-import --quiet",
                          make_history(random.Random(5), amount(220)))):
        git = native.command(["usr/bin/git", *words.split()])
        done = subprocess.run(git, input=stdin, cwd=directory, env=native.environment, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise BenchError("%s failed: %s" % (" ".join(git), done.stdout.decode()))


def inputs(build_directory, percent, native):
    """{name: path}, made when missing."""
    base = os.path.join(build_directory, "bench/debian")
    os.makedirs(base, exist_ok=True)
    final = "%s/inputs-%d-%d" % (base, percent, INPUTS)
    with open(base + "/lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not os.path.isdir(final):
            temp = tempfile.mkdtemp(dir=base)
            try:
                generate(temp, percent, native)
                os.rename(temp, final)
            except BaseException:
                shutil.rmtree(temp)
                raise
    paths = {os.path.basename(path): path for path in glob.glob(final + "/*")}
    return dict(paths, c=final + "/input.c", scripts=SCRIPTS)


# ---- systems --------------------------------------------------------------------------------------


class Root:
    """A directory of programs and the words that start one of them."""

    def __init__(self, arch, start):
        self.root = guest("programs", arch)
        self.start = [word.format(root=self.root) for word in start]
        perl = self.root + "/usr/share/perl"
        library = "%s/usr/lib/%s/" % (self.root, "riscv64-linux-gnu" if arch == "riscv64"
                                      else "x86_64-linux-gnu")
        self.environment = {
            "PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/nonexistent",
            "PERL5LIB": ":".join((perl + "/5.40", library + "perl/5.40", library + "perl-base")),
            "GIT_EXEC_PATH": self.root + "/usr/lib/git-core", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TEMPLATE_DIR": "", "OPENSSL_CONF": "/dev/null", "PYTHONDONTWRITEBYTECODE": "1"}

    def command(self, words):
        program = os.path.join(self.root, words[0])
        return [word.format(program=program) for word in self.start] + [program, *words[1:]]

    def cc1(self):
        return glob.glob(self.root + "/usr/libexec/gcc*/riscv64-linux-gnu/14/cc1")[0]


def native_root():
    """The dynamic linker is called by name, because the host's may be older."""
    return Root("amd64", ["{root}/lib64/ld-linux-x86-64.so.2", "--library-path",
                          "{root}/usr/lib/x86_64-linux-gnu", "--argv0", "{{program}}"])


def fail(command, code, errors):
    what = "signal %d" % -code if code < 0 else "code %d" % code
    raise BenchError("%s ended with %s: %s" % (" ".join(command), what,
                                               errors.decode(errors="replace")[-2000:]))


def timed(command, environment, stdin, out, errors, repeat):
    """Seconds of one run, on average. posix_spawn: what Popen does costs more than `true`."""
    actions = [(os.POSIX_SPAWN_OPEN, 0, stdin or "/dev/null", os.O_RDONLY, 0),
               (os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, errors.fileno(), 2)]
    start = time.monotonic()
    for _ in range(repeat):
        child = os.posix_spawn(command[0], command, environment, file_actions=actions)
        try:
            status = os.waitpid(child, 0)[1]
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        if status:
            errors.seek(0)
            fail(command, os.waitstatus_to_exitcode(status), errors.read())
    return (time.monotonic() - start) / repeat


def overdue(*_):
    raise BenchError("a program has not ended after %d s" % SILENCE)


def run_one(root, name, paths, percent, environment):
    work = ALL[name]
    words = [word.format(percent, root=root.root, cc1=root.cc1(), **paths)
             for word in work.words.split()]
    command = root.command(words)
    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(SILENCE)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        seconds = timed(command, environment, paths.get(work.stdin), out, errors, work.repeat)
        signal.alarm(0)
        out.seek(0)
        digest = hashlib.sha256()
        while block := out.read(1 << 20):
            digest.update(block)
    return Result(seconds, None, digest.hexdigest()[:16], "")


def percent_of(scale):
    try:
        return SCALES.get(scale) or int(scale)
    except ValueError:
        raise BenchError("there is no scale %s; take %s or a percentage"
                         % (scale, ", ".join(SCALES))) from None


def system(root, build_directory, native, more=None):
    """A function run(keys, scale). `more` is added to the environment of each run."""
    def run(keys, scale):
        percent = percent_of(scale)
        paths = inputs(build_directory, percent, native)
        environment = dict(root.environment, **(more or {}))
        return {key: run_one(root, key, paths, percent, environment) for key in keys}
    return run
