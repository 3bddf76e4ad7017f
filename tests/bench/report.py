#!/usr/bin/env python3
"""The scripts' own arithmetic: lines of programs, ratios, and results that must not pass."""

import contextlib
import hashlib
import io
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../bench/lib"))
# pylint: disable=wrong-import-position
import debian
import programs as suite
import table
from common import BenchError

CATALOGUE = {"a": suite.Program("a", "int", 1, 3, 2, 1), "b": suite.Program("b", "int", 1, 3, 2, 1),
             "t": suite.Program("t", "trap", 2, 3, 2, 1),
             "h": suite.Program("h", "harts", 2, 3, 2, 1)}


def result(seconds, checksum="c", exact="e", wall=None):
    return suite.Result(seconds, wall, checksum, exact)


def refuses(text):
    reader = suite.Reader()
    try:
        reader.line(1.0, "bench: a start")
        reader.line(2.0, text)
    except BenchError:
        return True
    return not reader.results


def test_lines():
    reader = suite.Reader()
    reader.line(1.0, "bench: a start")
    reader.line(1.5, "[    2.0] random: crng init done")
    reader.line(3.5, "[    2.1] x bench: a 2.250000000 0123456789abcdef fedcba9876543210")
    assert reader.results == {"a": suite.Result(2.25, 2.5, "0123456789abcdef", "fedcba9876543210")}
    assert not reader.ended
    reader.line(4.0, "bench: end")
    assert reader.ended
    assert refuses("bench: a failed: code 139")
    assert refuses("bench: a is wrong: an old function was executed")
    assert refuses("bench: a 1.0 0123")


def test_keys():
    assert suite.keys_of(CATALOGUE) == ["a", "b", "t", "t/2", "h/2"]
    assert suite.keys_of(CATALOGUE, ["t"]) == ["t", "t/2"]
    assert suite.keys_of(CATALOGUE, ["b", "t/2"]) == ["b", "t/2"]


def test_table():
    collected = {"native": {"a": [result(1), result(5), result(2)], "b": [result(1)]},
                 "QEMU": {"a": [result(16)], "b": [result(2)]},
                 "guise": {"a": [result(4)], "b": [result(2)]}}
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        table.show(collected, CATALOGUE)
    rows = [line.split() for line in output.getvalue().splitlines()]
    assert rows[0] == ["native", "s", "QEMU/native", "guise/native", "guise/QEMU"]
    assert rows[1:] == [["integer"], ["a", "2.0000", "8.00", "2.00", "0.25"],
                        ["b", "1.0000", "2.00", "2.00", "1.00"],
                        ["geom.", "mean", "4.00", "2.00", "0.50"]]


def test_differences():
    good = {"native": {"a": [result(1, exact="n")]}, "QEMU": {"a": [result(2)]},
            "guise": {"a": [result(3)]}}
    assert not suite.differences(good, ["QEMU", "guise"])
    bad = dict(good, guise={"a": [result(3, checksum="other")]})
    assert len(suite.differences(bad, ["QEMU", "guise"])) == 1
    bad = dict(good, guise={"a": [result(3), result(3, exact="other")]})
    assert len(suite.differences(bad, ["QEMU", "guise"])) == 1


def test_debian():
    assert debian.percent_of("quick") == 20 and debian.percent_of("7") == 7
    try:
        debian.percent_of("large")
    except BenchError:
        pass
    else:
        raise AssertionError("a scale that is none")
    # Everyone must measure the same, also with another version of Python.
    made = hashlib.sha256()
    made.update(debian.make_text(random.Random(1), 100000))
    made.update(debian.make_c(random.Random(2), 5))
    made.update(debian.make_json(random.Random(3), 50))
    made.update(debian.make_history(random.Random(5), 5))
    assert made.hexdigest()[:16] == "94884b7419d4f4b6", made.hexdigest()


def test_clocks():
    assert not table.clocks({"native": {"a": [result(1)]}, "guise": {"a": [result(1, wall=1.1)]}})
    assert len(table.clocks({"guise": {"a": [result(0.2, wall=0.9)]}})) == 1


for name, function in list(globals().items()):
    if name.startswith("test_"):
        print(name, flush=True)
        function()
