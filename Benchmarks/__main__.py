"""Measures FlowOS next to the kernel, the tightest loops over NFQUEUE, and what terminates connections instead."""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tests" / "SystemTests"))

import figures
import groups
import machine
import results
import table
from samples import overlap

parser = argparse.ArgumentParser(
    prog="scripts/bench", description=__doc__, epilog="A figure counts as a ratio to a reference of the same run. Groups: "
    + ", ".join(groups.ALL) + ". Exit code 0 when all was measured, whatever the figures say; 3 when the machine was too noisy "
    "for them to mean much, or an earlier run on the same tree says something else.")
parser.add_argument("names", nargs="*", metavar="NAME", help="the groups to measure (default: all)")
parser.add_argument("--quick", action="store_true", help="three short rounds instead of seven: for a first look")
parser.add_argument("--rounds", type=int, help="how often each row is measured (default 7, with --quick 3)")
parser.add_argument("--all", action="store_true", help="mitmproxy too, where `mitmdump` is installed")
parser.add_argument("--output", type=pathlib.Path, default=ROOT / "Benchmarks" / "results", metavar="DIRECTORY",
                    help="where the JSON file and the figures go (default Benchmarks/results)")
parser.add_argument("--against", type=pathlib.Path, metavar="FILE", help="the JSON file of an earlier run, to compare with")


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def show(group):
    progress("")
    print(*table.lines(group), sep="\n", flush=True)


def main():
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in groups.ALL]
    if unknown:
        parser.error(f"no group is named {', '.join(unknown)}; there are {', '.join(groups.ALL)}")
    if arguments.rounds is not None and not 1 <= arguments.rounds <= 100:
        parser.error("--rounds takes 1 to 100")
    if os.geteuid() != 0:
        parser.error("only root can make network namespaces")
    earlier = results.read(arguments.against) if arguments.against else None
    began = time.monotonic()
    about = machine.description() | {"tree": tree()}
    print(f"{about['cores']} cores, {about['cpu']}, Linux {about['kernel']}, {about['date']}, commit {about['tree']}")
    measured = []
    with tempfile.TemporaryDirectory(prefix="flowos-bench-") as directory:
        os.chmod(directory, 0o755)
        bench = groups.Bench(
            directory, rounds=arguments.rounds or (3 if arguments.quick else 7), patience=0.4 if arguments.quick else 0.8,
            progress=progress, mitmproxy=shutil.which("mitmdump") if arguments.all else None)
        chosen = [measure for name, measure in groups.ALL.items() if not arguments.names or name in arguments.names]
        for measure in (groups.reference, *chosen):
            progress(f"{measure.__name__}: setting up")
            measured.append(measure(bench))
            show(measured[-1])
        measured.append(groups.reference(bench, "again", "the references, at the end"))
        show(measured[-1])

    noise = noises(measured[0], measured[-1], bench.rest.median, about["cores"])
    if arguments.all and not bench.mitmproxy:
        print("\nmitmproxy was left out: there is no 'mitmdump' in the path (pip install mitmproxy)")
    run = {"machine": about, "rounds": bench.rounds, "load_of_others": bench.rest.median, "noise": noise,
           "groups": [results.encoded(group) for group in measured]}
    if earlier:
        found, count = results.disagreements(earlier, run)
        print(f"\nOf {count} ratios that both runs have, {count - len(found)} agree within their spreads.", *found, sep="\n  ")
        if found and earlier["machine"].get("tree") == about["tree"]:
            noise.append(f"{len(found)} ratios do not agree with an earlier run on the same tree")
    arguments.output.mkdir(parents=True, exist_ok=True)
    results.write(arguments.output / "bench.json", run)
    for name, svg in figures.draw({group.name: group for group in measured}, about).items():
        (arguments.output / name).write_text(svg)

    print(f"\n== {time.monotonic() - began:.0f} s; results are in {arguments.output}")
    print(f"While the bench was at rest, {bench.rest.median:.1f} of {about['cores']} cores were busy with something else.")
    if noise:
        print("*** THE MACHINE WAS TOO NOISY: another run may say something else ***", *noise, sep="\n  ")
    return 3 if noise else 0


def tree():
    """The commit that is measured, and whether it was changed since; `unknown` outside of a repository."""
    def git(*words):
        return subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, *words], capture_output=True, text=True)
    commit = git("rev-parse", "--short", "HEAD")
    if commit.returncode != 0:
        return "unknown"
    return commit.stdout.strip() + (" with changes" if git("status", "--porcelain").stdout else "")


def noises(first, last, load, cores):
    """Why the figures of this run may not come again; nothing where they should."""
    found = []
    for name in first.series:
        before, after = first.series[name].spread, last.series[name].spread
        if not overlap(before, after):
            found.append(f"{name} at the beginning: {before[0]:.0f} - {before[1]:.0f} MiB/s; at the end: "
                         f"{after[0]:.0f} - {after[1]:.0f}")
    for comparison in first.comparisons:
        before, after = comparison.against(first.series), comparison.against(last.series)
        for when, (ratio, least, greatest) in (("beginning", before), ("end", after)):
            if greatest - least > 0.25 * ratio:
                found.append(f"{comparison.row} / {comparison.reference} at the {when} was anything from {least:.2f} to "
                             f"{greatest:.2f}")
        if not overlap(before[1:], after[1:]):
            found.append(f"{comparison.row} / {comparison.reference} was {before[0]:.2f} at the beginning and {after[0]:.2f} "
                         "at the end")
    if load > 0.15 * cores:
        found.append(f"other programs kept {load:.1f} of {cores} cores busy")
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nscripts/bench: ended early; all that it made is removed", file=sys.stderr)
        sys.exit(130)
