"""The table on the terminal, group by group as they are measured."""


def _number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _range(pair):
    return f"{_number(pair[0])} - {_number(pair[1])}"


def aligned(rows):
    """Rows of cells, each column as wide as its widest cell; all but the first to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()
            for row in rows]


def lines(group):
    """What was measured in a group, and its ratios."""
    yield ""
    yield f"== {group.name}: {group.title}"
    if group.series:
        rows = [("", group.unit, "least - greatest", f"CPU s/{group.cpu_unit}")]
        for series in group.series.values():
            rows.append((series.name, _number(series.median), _range(series.spread) if len(series.values) > 1 else "",
                         "" if series.cpu is None else f"{series.cpu:.2f}"))
        if all(series.cpu is None for series in group.series.values()):
            rows = [row[:3] for row in rows]
        yield from aligned(rows)
    rows = [("", "ratio", "least - greatest", "must be", "")]
    for comparison in group.comparisons:
        ratio = comparison.against(group.series)
        if ratio is not None:
            short = (lambda value: f"{value:.2f}") if comparison.reference else _number
            rows.append((comparison.name, short(ratio[0]), f"{short(ratio[1])} - {short(ratio[2])}", comparison.target, comparison.outcome(group.series)))
    if len(rows) > 1:
        yield ""
        yield from aligned(rows)
    for note in group.notes:
        yield f"  {note}"
