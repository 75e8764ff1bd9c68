"""What a run leaves behind: a JSON file, and whether another run agrees with it."""

import json

from samples import overlap


def encoded(group):
    """A group as JSON has it."""
    return {
        "name": group.name, "title": group.title, "unit": group.unit, "cpu_unit": group.cpu_unit, "notes": group.notes,
        "rows": [{"name": series.name, "median": series.median, "values": series.values, "cpu": series.cpu}
                 for series in group.series.values()],
        "ratios": [_ratio(comparison, ratio, group) for comparison in group.comparisons
                   if (ratio := comparison.against(group.series)) is not None],
    }


def _ratio(comparison, ratio, group):
    return {
        "row": comparison.row, "reference": comparison.reference, "ratio": ratio[0], "least": ratio[1], "greatest": ratio[2],
        "target": comparison.target, "outcome": comparison.outcome(group.series),
    }


def disagreements(one, other):
    """The ratios that both runs have and whose spreads do not meet, as lines of text; and how many they have in common."""
    def by_name(run):
        return {(group["name"], ratio["row"], ratio["reference"]): ratio for group in run["groups"] for ratio in group["ratios"]}
    old, new = by_name(one), by_name(other)
    common = [key for key in new if key in old]
    found = [
        f"{group}: {row}{f' / {reference}' if reference else ''}: {old[key]['least']:.2f} - {old[key]['greatest']:.2f} before, "
        f"{new[key]['least']:.2f} - {new[key]['greatest']:.2f} now"
        for key in common for group, row, reference in [key]
        if not overlap((old[key]["least"], old[key]["greatest"]), (new[key]["least"], new[key]["greatest"]))]
    return found, len(common)


def write(path, run):
    path.write_text(json.dumps(run, indent=1) + "\n")


def read(path):
    return json.loads(path.read_text())
