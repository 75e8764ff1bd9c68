"""What was measured, taken in turns, and how one row compares to another of the same run."""

import dataclasses
import statistics


@dataclasses.dataclass
class Sample:
    """One measurement of one row."""

    value: float
    # Busy CPU seconds of the whole machine for the work of `Group.cpu_unit`; None where it says nothing.
    cpu: float | None = None
    # What `value` is the median of, where the row is one of many connections.
    each: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Series:
    """The samples of one row, one of each round."""

    name: str
    samples: list[Sample] = dataclasses.field(default_factory=list)

    @property
    def values(self):
        return [sample.value for sample in self.samples]

    @property
    def median(self):
        together = [value for sample in self.samples for value in sample.each]
        return statistics.median(together or self.values)

    @property
    def spread(self):
        """The least and the greatest of all rounds."""
        return min(self.values), max(self.values)

    @property
    def cpu(self):
        known = [sample.cpu for sample in self.samples if sample.cpu is not None]
        return statistics.median(known) if known else None


@dataclasses.dataclass
class Comparison:
    """A row as a multiple of another one, the reference, and what it must reach; or by itself, where there is none."""

    row: str
    reference: str | None
    at_least: float | None = None
    at_most: float | None = None
    goal: bool = False

    def against(self, series):
        """The ratio, and its least and greatest. Each round is compared with itself, so that what disturbed both is out.

        None where one of the two was not measured.
        """
        if self.row not in series or self.reference not in (None, *series):
            return None
        one = series[self.row]
        if self.reference is None:
            return one.median, *one.spread
        other = series[self.reference]
        ratios = [a / b for a, b in zip(one.values, other.values)]
        many = any(sample.each for sample in one.samples)
        median = one.median / other.median if many else statistics.median(ratios)
        return median, min(ratios), max(ratios)

    def outcome(self, series):
        """`reached`, `within spread` (of this run) or `missed`; empty where there is no target, or no figure."""
        ratio = self.against(series)
        if ratio is None or (self.at_least is None and self.at_most is None):
            return ""
        median, least, greatest = ratio
        if self.at_least is not None:
            good, may_be = median >= self.at_least, greatest >= self.at_least
        else:
            good, may_be = median <= self.at_most, least <= self.at_most
        return "reached" if good else "within spread" if may_be else "missed"

    @property
    def name(self):
        return f"{self.row} / {self.reference}" if self.reference else self.row

    @property
    def target(self):
        if self.at_least is not None:
            return f">= {self.at_least:g}" + (" (goal)" if self.goal else "")
        return f"<= {self.at_most:g}" if self.at_most is not None else ""


def in_turns(contenders, rounds, progress):
    """Measures all of them once a round, A B C A B C ..., and returns the series by their names.

    contenders: functions that return samples by the name of the row. progress: is called with the number of each round.
    """
    series = {}
    for number in range(1, rounds + 1):
        progress(number)
        for measure in contenders:
            for name, sample in measure().items():
                series.setdefault(name, Series(name)).samples.append(sample)
    return series


def overlap(one, other):
    """Whether two intervals have a point in common: what `a second run agrees` means here."""
    return one[0] <= other[1] and other[0] <= one[1]
