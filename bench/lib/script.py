"""What bench/guest and bench/exec have in common: options, the run, the report, the exit code."""

import contextlib
import json
import sys

import programs as suite
import table
from common import ROOT, BenchError

BUILD = ROOT + "/build"


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", dest="scale", action="store_const", const="quick",
                        default="full", help="a tenth of the work")
    parser.add_argument("--scale", metavar="tiny|COUNT",
                        help="another amount of work; a count makes sense with one program")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,NAME")
    parser.add_argument("--guise", default=BUILD + "/guise", metavar="PROGRAM")
    parser.add_argument("--json", metavar="FILE", help="write every single time there")


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(options, catalogue, keys, systems):
    """Measures, prints everything, and returns the exit code: 1 when results differ."""
    sys.stdout.flush()
    collected = suite.measure(systems, keys, options.scale, options.rounds, say)
    table.show(collected, catalogue)
    for sentence in table.clocks(collected):
        print("clock: " + sentence)
    if options.json:
        with open(options.json, "w", encoding="ascii") as file:
            json.dump({name: {key: [run._asdict() for run in runs] for key, runs in results.items()}
                       for name, results in collected.items()}, file, indent=1)
    problems = suite.differences(collected, [name for name in systems if name != table.BASE])
    for problem in problems:
        print("wrong: " + problem)
    return 1 if problems else 0


@contextlib.contextmanager
def one_sentence(prog):
    """Errors end a script with their sentence and code 1."""
    try:
        yield
    except BenchError as error:
        sys.exit("%s: %s" % (prog, error))
    except KeyboardInterrupt:
        sys.exit(130)
