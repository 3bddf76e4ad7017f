#!/usr/bin/env python3
"""Descriptions of machines: each option is a field and does the same, what is wrong is told with the file
and the place, and --print-config is the way back."""

import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import harness
from harness import ROOT, check, run, scratch, text

LOOP = b"\x6f\x00\x00\x00"  # j .
# A value for each option, to which it prints as a description: numbers, switches, lists, files.
VALUES = {
    "kernel": ("k", "{cwd}/k"), "initrd": ("/i", "/i"), "append": ("a b=c,d", "a b=c,d"),
    "firmware": ("f", "{cwd}/f"), "cpus": ("3", 3), "memory": ("8M", "8M"),
    "disk": ("d,x.img,readonly", ["{cwd}/d,x.img,readonly"]),
    "image": ("i,readonly", "{cwd}/i,readonly"), "uefi": ("v", "{cwd}/v"),
    "pflash": ("c,readonly", ["{cwd}/c,readonly"]), "share": ("d,tag=t", ["{cwd}/d,tag=t"]),
    "vsock": ("v,cid=5", "{cwd}/v,cid=5"), "balloon": ("64M", "64M"),
    "port": ("unix:p,name=a.b", ["unix:{cwd}/p,name=a.b"]),
    "net": ("switch=s,mtu=9000,pcap=/p", ["switch={cwd}/s,mtu=9000,pcap=/p"]),
    "bus": ("pci", "pci"), "irqchip": ("aia", "aia"), "console": ("file:c,d", "file:{cwd}/c,d"),
    "engine": ("interp", "interp"), "code-cache": ("2M", "2M"), "mmu": ("sv48", "sv48"),
    "name": ("box", "box"), "control": ("none", "none"), "paused": (None, True),
    "gdb": ("unix:g", "unix:{cwd}/g"), "deterministic": (None, True), "no-cache": (None, True), "run-for": ("1000", 1000),
    "save": ("s", "{cwd}/s"), "load": ("l", "{cwd}/l"), "lockstep": ("a,b", "a,b"),
    "stats": (None, True), "dump-code": ("c", "{cwd}/c"), "dump-dtb": ("t", "{cwd}/t"),
    "sandbox": ("off", "off"), "user": ("7:8", "7:8"),
}


def options():
    """Names of all options, from the help, which is printed from the table."""
    _, out, _ = run(["help", "run"])
    return re.findall(r"(?m)^  --([a-z-]+)", text(out))


def words(names):
    for name in names:
        yield "--" + name
        if VALUES[name][0] is not None:
            yield VALUES[name][0]


def print_config(directory, *args):
    code, out, err = run(["run", "--print-config", *args], cwd=directory)
    check(code == 0 and not err, "exit code %d" % code, out + err)
    return json.loads(out)


def write(path, value):
    with open(path, "w", encoding="utf-8") as file:
        file.write(value if isinstance(value, str) else json.dumps(value))


def test_every_option_is_a_field():
    names = [name for name in options() if name != "print-config"]
    check(len(names) > 20 and set(names) == set(VALUES),
          "this test lacks values, or has too many: %s" % sorted(set(names) ^ set(VALUES)))
    with open(ROOT + "/docs/machine-description.md", encoding="utf-8") as file:
        documented = re.findall(r"(?m)^\| `([a-z-]+)`", file.read())
    check(set(documented) == set(names) | {"version"},
          "the documentation: %s" % sorted(set(documented) ^ set(names)))
    with scratch() as directory, scratch() as elsewhere:
        directory = os.path.realpath(directory)
        want = {"version": 1}
        for name in names:
            value = VALUES[name][1]
            fill = lambda v: v.replace("{cwd}", directory) if isinstance(v, str) else v
            want[name] = [fill(v) for v in value] if isinstance(value, list) else fill(value)
        got = print_config(directory, *words(names))
        check(got == want, "all options: %r" % [(k, got.get(k), want.get(k)) for k in want
                                                if got.get(k) != want.get(k)])
        # Back from the file, from anywhere.
        write(directory + "/m.json", got)
        check(print_config(elsewhere, directory + "/m.json") == want, "read again")
        # Each alone, from the command line's own text.
        for name in names:
            given, value = VALUES[name]
            one = print_config(directory, *words([name]))
            check(one == {"version": 1, name: want[name]}, "--%s: %r" % (name, one))
            field = True if given is None else int(given) if isinstance(value, int) else given
            write(directory + "/one.json", {name: [field] if isinstance(value, list) else field})
            check(print_config(directory, "one.json") ==
                  {"version": 1, name: VALUES[name][1] if not isinstance(value, (str, list)) else
                   [v.replace("{cwd}", directory) for v in value] if isinstance(value, list)
                   else value.replace("{cwd}", directory)}, name)


def test_forms():
    """Ways to write the same, and what comes later on the command line."""
    with scratch() as directory:
        directory = os.path.realpath(directory)
        os.mkdir(directory + "/sub")
        path = directory + "/sub/m.json"
        sub = directory + "/sub/"
        for given, want in (
                ({"disk": "x"}, {"disk": [sub + "x"]}),
                ({"disk": [{"file": "x", "readonly": True, "format": "raw"}]},
                 {"disk": [sub + "x,readonly,format=raw"]}),
                ({"disk": [{"file": "/x", "readonly": False}, "y"]}, {"disk": ["/x", sub + "y"]}),
                ({"disk": ["nbd://host/x", {"file": "nbd+unix:///?socket=s", "readonly": True}]},
                 {"disk": ["nbd://host/x", "nbd+unix:///?socket=s,readonly"]}),
                ({"net": {"network": "user", "hostfwd": ["tcp:1-:2", "tcp:3-:4"], "mtu": 1400,
                          "restrict": True}},
                 {"net": ["user,hostfwd=tcp:1-:2,hostfwd=tcp:3-:4,mtu=1400,restrict"]}),
                ({"memory": 8 << 20}, {"memory": str(8 << 20)}),
                ({"stats": False}, {}), ({"append": ""}, {"append": ""}), ({"disk": []}, {})):
            write(path, given)
            got = print_config(directory, "sub/m.json")
            check(got == {"version": 1, **want}, "%r: %r" % (given, got))
        write(path, {"cpus": 2, "disk": "x"})
        check(print_config(directory, path, "--cpus", "4", "--disk", "y") ==
              {"version": 1, "cpus": 4, "disk": [sub + "x", directory + "/y"]}, "options behind it")


WRONG = [
    ("", "line 1"), ("{", "line 1"), ('{"cpus": 1,\n "memory": }', "line 2, column"),
    ('{"cpus": 1, "cpus": 2}', "line 1"), ('{"append": "\x01"}', "line 1"), ("[]", "object"),
    ('{"a": ' * 5000, "line 1"), ({"cpuz": 1}, "'cpuz'"), ({"print-config": True}, "'print-config'"),
    ({"version": 2}, "version"), ({"version": "1"}, "version"),
    ({"cpus": "2"}, "cpus: must be an integer"), ({"cpus": 2.5}, "cpus: must be"),
    ({"cpus": -1}, "cpus: must be"), ({"cpus": 65}, "cpus: '65' is not in the range 1 to 64"),
    ({"cpus": None}, "cpus: must be"), ({"memory": "lots"}, "memory: 'lots'"),
    ({"memory": True}, "memory: must be"), ({"kernel": 5}, "kernel: must be a string"),
    ({"kernel": ["a"]}, "kernel: must be a string"), ({"stats": "yes"}, "stats: must be true"),
    ({"stats": 1}, "stats: must be true"), ({"mmu": "sv32"}, "mmu: 'sv32'"),
    ({"disk": [{"file": "a"}, 5]}, "disk[1]: must be"), ({"disk": [{"readonly": True}]}, 'disk[0]: needs "file"'),
    ({"disk": [{"file": "a", "cache": "none"}]}, "disk[0]: there is no field 'cache'"),
    ({"disk": [{"file": "a", "format": "raw,readonly"}]}, "disk[0]: format"),
    ({"disk": [{"file": "a,readonly"}]}, "disk[0]: needs"),
    ({"disk": [{"file": "a", "readonly": None}]}, "disk[0]: readonly"),
    ({"disk": ["d"] * 8}, "disk[7]: the machine takes up to 7"),
    ({"net": ["user", "nobody"]}, "net[1]: 'nobody'"),
    ({"net": {"network": "user", "speed": 10}}, "net: network 'user' has no option 'speed'"),
    ({"net": [["user"]]}, "net[0]: must be"), ({"name": "a b"}, "name: 'a b'"),
]


def test_wrong():
    wrong = []
    with scratch() as directory:
        path = directory + "/m.json"
        for given, needle in WRONG:
            write(path, given)
            code, out, err = run(["run", path])
            if (code != 2 or out or not err.startswith(b"guise: " + path.encode() + b": ") or
                    err.count(b"\n") != 1 or needle.encode() not in err):
                wrong.append("%r: %d, %s" % (given if len(given) < 80 else "(long)", code, text(err)))
        check(not wrong, "%d of %d cases:\n%s" % (len(wrong), len(WRONG), "\n".join(wrong)))
        os.mkdir(directory + "/folder.json")
        os.mkfifo(directory + "/fifo.json")
        with open(directory + "/big.json", "wb") as file:
            file.truncate(2 << 20)
        for name in ("folder.json", "fifo.json", "big.json", "missing.json"):
            code, out, err = run(["run", directory + "/" + name])
            check(code == 2 and name.encode() in err and err.count(b"\n") == 1, name, out + err)


def test_runs():
    """The machine is the same as with the options."""
    with scratch() as directory:
        with open(directory + "/loop", "wb") as file:
            file.write(LOOP)
        write(directory + "/m.json", {"firmware": "loop", "memory": "4M", "cpus": 2, "console": "none",
                                      "deterministic": True, "run-for": 1000000, "stats": True})
        hashes = set()
        for args in ([directory + "/m.json"],
                     ["--firmware", directory + "/loop", "--memory", "4M", "--cpus", "2", "--console",
                      "none", "--deterministic", "--run-for", "1000000", "--stats"]):
            code, out, err = run(["run", *args])
            found = re.search(rb"state hash +([0-9a-f]{16})", err)
            check(code == 0 and found, "exit code %d" % code, out + err)
            hashes.add(found.group(1))
        check(len(hashes) == 1, "they differ: %r" % hashes)


if __name__ == "__main__":
    harness.main(globals())
