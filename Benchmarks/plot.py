"""Charts as SVG: bars, and lines over a logarithmic axis. No more than the figures need."""

from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP = 760, 70, 20, 46
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777", "#222222")


def _ticks(greatest):
    """Round numbers from 0 to at least `greatest`, about five steps."""
    step = 10 ** len(str(int(greatest))) / 1000 if greatest >= 1 else 0.01
    while greatest / step > 6:
        step *= 2.5 if str(step).lstrip("0.").startswith("2") else 2
    count = int(-(-greatest // step))
    return [number * step for number in range(count + 1)]


def _label(value):
    return f"{value:,.10g}".replace(",", " ")


class Chart:
    """One picture: a title, an axis upwards from 0, and a caption beneath."""

    def __init__(self, title, unit, greatest, *, caption=(), height=300):
        self._ticks = _ticks(greatest * 1.02)
        self._height, self._parts = height, []
        self.left, self.right = LEFT, WIDTH - RIGHT
        self.bottom = TOP + height
        self._caption = caption
        self.text(LEFT, 20, title, size=15, bold=True)
        self.text(LEFT, 38, unit, size=12)
        for tick in self._ticks:
            y = self.y(tick)
            self.add(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{self.right}" y2="{y:.1f}" stroke="#dddddd"/>')
            self.text(LEFT - 6, y + 4, _label(round(tick, 6)), anchor="end", size=11)

    def y(self, value):
        return self.bottom - value / self._ticks[-1] * (self._height - 10)

    def add(self, part):
        self._parts.append(part)

    def text(self, x, y, words, *, size=12, anchor="start", bold=False, turned=False):
        turn = f' transform="rotate(-28 {x:.1f} {y:.1f})"' if turned else ""
        weight = ' font-weight="bold"' if bold else ""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{weight}{turn}>{escape(words)}</text>')

    def error(self, x, spread, colour="#333333"):
        """A vertical line from the least to the greatest."""
        low, high = (self.y(min(value, self._ticks[-1])) for value in spread)
        self.add(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6" '
                 f'stroke="{colour}" fill="none"/>')

    def svg(self, below):
        """The whole; `below` is the room that labels under the axis take."""
        y = self.bottom + below
        for line in self._caption:
            y += 17
            self.text(LEFT - 50, y, line, size=12)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 14:.0f}" width="{WIDTH}" '
                f'height="{y + 14:.0f}" font-family="DejaVu Sans, Verdana, sans-serif">\n'
                f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(self._parts) + "\n</svg>\n")


def bars(title, unit, rows, *, caption=()):
    """A bar for each of the rows (name, value, spread, kind); bars of one kind have one colour."""
    chart = Chart(title, unit, max(spread[1] for _, _, spread, _ in rows), caption=caption)
    kinds = list(dict.fromkeys(kind for *_, kind in rows))
    step = (chart.right - chart.left) / len(rows)
    longest = max(len(name) for name, *_ in rows)
    for number, (name, value, spread, kind) in enumerate(rows):
        x = chart.left + step * (number + 0.15)
        width = step * 0.7
        chart.add(f'<rect x="{x:.1f}" y="{chart.y(value):.1f}" width="{width:.1f}" '
                  f'height="{chart.bottom - chart.y(value):.1f}" fill="{COLOURS[kinds.index(kind) % len(COLOURS)]}"/>')
        chart.error(x + width / 2, spread)
        chart.text(x + width / 2 + 6, chart.bottom + 16, name, anchor="end", size=11, turned=True)
    return chart.svg(22 + longest * 2.7)


def lines(title, unit, positions, rows, *, axis, caption=()):
    """A line for each of the rows (name, values, spreads), over `positions` that stand at equal distances.

    Where a row has nothing at a position its value and spread are None.
    """
    chart = Chart(title, unit, max(spread[1] for _, _, spreads in rows for spread in spreads if spread), caption=caption)
    step = (chart.right - chart.left) / len(positions)
    places = [chart.left + step * (number + 0.5) for number in range(len(positions))]
    for x, position in zip(places, positions):
        chart.text(x, chart.bottom + 18, _label(position), anchor="middle", size=11)
    chart.text((chart.left + chart.right) / 2, chart.bottom + 36, axis, anchor="middle")
    for number, (name, values, spreads) in enumerate(rows):
        colour = COLOURS[number % len(COLOURS)]
        points = [point for point in zip(places, values, spreads) if point[1] is not None]
        path = " ".join(f"{x:.1f},{chart.y(value):.1f}" for x, value, _ in points)
        chart.add(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, value, spread in points:
            chart.add(f'<circle cx="{x:.1f}" cy="{chart.y(value):.1f}" r="3.5" fill="{colour}"/>')
            chart.error(x, spread, colour)
        y = chart.bottom + 58 + 17 * number
        chart.add(f'<rect x="{chart.left}" y="{y - 9}" width="18" height="9" fill="{colour}"/>')
        chart.text(chart.left + 26, y, name)
    return chart.svg(50 + 17 * len(rows))
