"""Figures of the benchmark programs as a table: medians, ratios, geometric means."""

from common import geometric_mean, median
from programs import harts_of, name_of

GROUPS = {"int": "integer", "fp": "floating point", "trap": "traps", "code": "rewritten code",
          "harts": "two harts", "debian": "Debian's programs", "start": "start-up"}
BASE = "native"


def group_of(key, programs):
    return "harts" if harts_of(key) == 2 else programs[name_of(key)].group


def columns(systems):
    """(heading, numerator, denominator) of each ratio: every system to native, and every further
    system to the second one, which is the peer."""
    others = [name for name in systems if name != BASE]
    pairs = [(name, BASE) for name in others]
    pairs += [(name, others[0]) for name in others[1:]]
    return [("%s/%s" % pair, *pair) for pair in pairs]


def show(collected, programs):
    """Prints the table. Returns {key: {system: median seconds}}."""
    keys = list(collected[BASE])
    medians = {key: {name: median([result.seconds for result in results[key]])
                     for name, results in collected.items()} for key in keys}
    ratios = columns(collected)
    print("%-14s %10s" % ("", BASE + " s") + "".join("%*s" % (width(head), head)
                                                     for head, _, _ in ratios))
    for group, title in GROUPS.items():
        members = [key for key in keys if group_of(key, programs) == group]
        if not members:
            continue
        print(title)
        for key in members:
            print("  %-12s %10.4f" % (key, medians[key][BASE]) + "".join(
                "%*.2f" % (width(head), medians[key][a] / medians[key][b])
                for head, a, b in ratios))
        if len(members) > 1:
            print("  %-12s %10s" % ("geom. mean", "") + "".join(
                "%*.2f" % (width(head), geometric_mean([medians[key][a] / medians[key][b]
                                                        for key in members]))
                for head, a, b in ratios))
    return medians


def width(heading):
    return max(len(heading), 8) + 3


def clocks(collected):
    """One sentence for each program that took another time by the guest's clock than by the host's.
    The lines that this is measured by come over a serial line, and programs take turns on a busy
    host: what is left out here cannot change a figure much."""
    sentences = []
    for name, results in collected.items():
        for key, runs in results.items():
            pairs = [(run.seconds, run.wall) for run in runs if run.wall is not None]
            if not pairs:
                continue
            own, host = (median(values) for values in zip(*pairs))
            if abs(own - host) > 0.05 + 0.1 * host:
                sentences.append("%s took %.2f s by the clock of %s and %.2f s by the host's"
                                 % (key, own, name, host))
    return sentences
