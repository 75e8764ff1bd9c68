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
# Compilers and C libraries differ a little. What the allocator has to give depends on what was asked for before, were it the path
# of the program: an array that found a few octets more grows once less. An allocation for each packet is far above it.
TOLERANCE = {"instructions": 0.05, "allocations": 0.005}
ALLOCATIONS_BY_CHANCE = 4
# The C library has its loops over octets in several forms, and takes what suits the processor. Here it takes the plain one.
PLAIN = "glibc.cpu.hwcaps=" + ",".join(
    f"-{feature}" for feature in ["AVX512F", "AVX512VL", "AVX2", "AVX_Fast_Unaligned_Load", "BMI2", "ERMS", "FSRM", "RTM",
                                  "SSE4_1", "SSE4_2", "SSSE3"])


def count():
    """What each piece of work takes, by its name: units, allocations in all, instructions a unit."""
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "out"
        done = subprocess.run(
            ["valgrind", "--quiet", "--tool=callgrind", "--toggle-collect=counted", "--dump-after=counted",
             f"--callgrind-out-file={out}", PROGRAM, "work"],
            env=os.environ | {"SWIFT_DETERMINISTIC_HASHING": "1", "GLIBC_TUNABLES": PLAIN}, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr + f"it ended with {done.returncode}")
        works = {}
        for number, line in enumerate(done.stdout.splitlines(), start=1):
            name, units, allocations = line.split("\t")
            dump = pathlib.Path(f"{out}.{number}").read_text()
            instructions = int(re.search(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE)[1])
            works[name] = {"units": int(units), "allocations": int(allocations),
                           "instructions": round(instructions / int(units), 3)}
        return works


def main():
    parser = argparse.ArgumentParser(prog="python3 Benchmarks/costs.py", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep what is counted now, for later comparisons")
    arguments = parser.parse_args()
    works = count()
    if arguments.keep:
        KEPT.write_text(json.dumps(works, indent=2) + "\n")
    kept = json.loads(KEPT.read_text())
    exceeded = [f"{name}: not counted" for name in kept if name not in works]
    print(f"{'a unit of':42} {'instructions':>13} {'kept':>10} {'allocations':>12} {'kept':>8}")
    for name, work in works.items():
        limit = kept.get(name)
        if limit is None:
            exceeded.append(f"{name}: not kept")
            limit = work
        print(f"{name:42} {work['instructions']:13,.1f} {limit['instructions']:10,.1f} "
              f"{work['allocations'] / work['units']:12.3f} {limit['allocations'] / limit['units']:8.3f}"
              + ("  fewer: --keep" if work["instructions"] < limit["instructions"] * (1 - TOLERANCE["instructions"]) else ""))
        if work["instructions"] > limit["instructions"] * (1 + TOLERANCE["instructions"]):
            exceeded.append(f"{name}: {work['instructions']:,} instructions each, {limit['instructions']:,} are kept")
        if work["allocations"] > limit["allocations"] * (1 + TOLERANCE["allocations"]) + ALLOCATIONS_BY_CHANCE:
            exceeded.append(f"{name}: {work['allocations']:,} allocations in {work['units']:,}, {limit['allocations']:,} are kept")
    if exceeded:
        print("more than is kept in Benchmarks/costs.json, or other work; where that is meant, keep anew with --keep:")
        print("\n".join(exceeded))
    return 1 if exceeded else 0


sys.exit(main())
