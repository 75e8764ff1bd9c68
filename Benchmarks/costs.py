"""Counts what pieces of work cost the engine, and compares with what is kept in costs.json.

Counted are instructions, by valgrind, and allocations on the heap; nothing is timed, so a busy machine makes no difference.
Exit code 1 where a piece of work takes more than it should."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = HERE / ".build" / "release" / "EngineCost"
KEPT = HERE / "costs.json"
# Instructions: compilers and C libraries differ a little.
TOLERANCE = 0.05


def count():
    """What each piece of work takes, by its name: units, allocations in all, instructions a unit."""
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "out"
        done = subprocess.run(
            ["valgrind", "--quiet", "--tool=callgrind", "--toggle-collect=counted", "--dump-after=counted",
             f"--callgrind-out-file={out}", PROGRAM, "work"],
            env=os.environ | {"SWIFT_DETERMINISTIC_HASHING": "1"}, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr + f"it ended with {done.returncode}")
        works = {}
        for number, line in enumerate(done.stdout.splitlines(), start=1):
            name, units, allocations = line.split("\t")
            dump = pathlib.Path(f"{out}.{number}").read_text()
            instructions = int(re.search(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE)[1])
            works[name] = {"units": int(units), "allocations": int(allocations),
                           "instructions": round(instructions / int(units), 1)}
        return works


def main():
    parser = argparse.ArgumentParser(prog="python3 Benchmarks/costs.py", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep what is counted now, for later comparisons")
    arguments = parser.parse_args()
    works = count()
    if arguments.keep:
        KEPT.write_text(json.dumps(works, indent=2) + "\n")
    kept = json.loads(KEPT.read_text())
    failed = set(works) != set(kept)
    print(f"{'a unit of':42} {'instructions':>13} {'kept':>10} {'allocations':>12} {'kept':>8}")
    for name, work in works.items():
        limit = kept.get(name, work)
        marks = ""
        if work["instructions"] > limit["instructions"] * (1 + TOLERANCE):
            marks += " MORE INSTRUCTIONS"
        elif work["instructions"] < limit["instructions"] * (1 - TOLERANCE):
            marks += " fewer: --keep"
        if work["allocations"] > limit["allocations"]:
            marks += " MORE ALLOCATIONS"
        failed = failed or "MORE" in marks
        print(f"{name:42} {work['instructions']:13,.1f} {limit['instructions']:10,.1f} "
              f"{work['allocations'] / work['units']:12.3f} {limit['allocations'] / limit['units']:8.3f}{marks}")
    if failed:
        print("what is kept in Benchmarks/costs.json is exceeded, or of other work; where that is meant, keep anew with --keep")
    return 1 if failed else 0


sys.exit(main())
