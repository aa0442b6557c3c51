"""From samples to figures: medians, percentiles, spreads, and the Markdown table that shows them. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Sample:
    """One run of the load: requests, seconds, latencies and first bytes in ms, CPU seconds by group of processes."""

    seconds: float
    done: int
    bytes: int
    latencies: Sequence[float]
    first: Sequence[float]
    statuses: Mapping[int, int] = field(default_factory=dict)
    broken: int = 0
    cpu: Mapping[str, float] = field(default_factory=dict)

    @property
    def requests_per_second(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def megabytes_per_second(self) -> float:
        """In units of 10**6 bytes."""
        return self.bytes / 1e6 / self.seconds if self.seconds else 0.0

    def failures(self) -> int:
        """Answers that are no success, and connections that broke."""
        return self.broken + sum(count for status, count in self.statuses.items() if not 200 <= status < 300)


@dataclass(frozen=True)
class Cell:
    """The repeated runs of one work with one number of connections."""

    samples: Sequence[Sample]

    @property
    def rates(self) -> list[float]:
        return [sample.requests_per_second for sample in self.samples]

    @property
    def speeds(self) -> list[float]:
        return [sample.megabytes_per_second for sample in self.samples]

    @property
    def latencies(self) -> list[float]:
        return [value for sample in self.samples for value in sample.latencies]

    @property
    def first(self) -> list[float]:
        return [value for sample in self.samples for value in sample.first]

    @property
    def failures(self) -> int:
        return sum(sample.failures() for sample in self.samples)

    def cpu_microseconds(self, units: float) -> dict[str, float]:
        """CPU microseconds of each group of processes, for each of so many units."""
        groups = {name for sample in self.samples for name in sample.cpu}
        return {
            name: sum(sample.cpu.get(name, 0.0) for sample in self.samples) * 1e6 / units if units else 0.0
            for name in groups
        }


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed (nearest rank); nan if there are none."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    rank = -(-percent * len(ordered) // 100)
    return ordered[max(int(rank), 1) - 1]


def spread(values: Sequence[float]) -> float:
    """(Greatest - least) / median: how far repeated runs lie apart; 0 where there is nothing to compare."""
    middle = median(values) if values else 0.0
    return (max(values) - min(values)) / middle if middle else 0.0


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of runs that were measured one right after the other; nan if there are none."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True) if other]
    return median(ratios) if ratios else float("nan")


def number(value: float) -> str:
    """Three significant digits, or as many as stand before the point."""
    if value != value:  # noqa: PLR0124 - nan, which nothing else equals
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def pair(values: Sequence[float]) -> str:
    """`p50 / p99`."""
    return f"{number(percentile(values, 50))} / {number(percentile(values, 99))}" if values else ""


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """A Markdown table: columns in the order of their first appearance, without those that are empty in every row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = [name for name in names if any(row.get(name) for row in rows)]
    widths = {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in shown}
    lines = [
        "| " + " | ".join(f"{name:{widths[name]}}" for name in shown) + " |",
        "| " + " | ".join("-" * widths[name] for name in shown) + " |",
    ]
    lines += ["| " + " | ".join(f"{row.get(name, ''):{widths[name]}}" for name in shown) + " |" for row in rows]
    return "\n".join(lines)
