"""What the processes hold, sampled over time, and whether it stays flat."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

from tests.bench.figures import number
from tests.bench.processes import PROC

# Of the time, at its start: caches fill, workers start, the allocators find their size.
WARM_UP = 0.25
# A figure is flat if it grows by no more than a tenth, or by no more than this: files, threads, MiB, processes.
SLACK: Mapping[str, float] = {"processes": 3.0, "files": 4.0, "threads": 2.0, "own MiB": 4.0, "RSS MiB": 8.0}
# RSS counts PostgreSQL's shared buffers once for each backend that has touched them, so it grows until all have touched
# all. The S3 server's garbage collector takes memory up to the limit that local/s3.py gives it before it works harder.
SHOWN_ONLY = frozenset({("PostgreSQL", "RSS MiB"), ("S3", "RSS MiB"), ("S3", "own MiB")})
CONNECTIONS = "connections"


@dataclass(frozen=True)
class Figure:
    """One figure of one group of processes: its medians in the first and in the last quarter after the warm-up."""

    group: str
    name: str
    first: float
    last: float
    greatest: float

    @property
    def judged(self) -> bool:
        return (self.group, self.name) not in SHOWN_ONLY

    @property
    def flat(self) -> bool:
        return self.last <= self.first + max(self.first * 0.1, SLACK.get(self.name, 3.0))

    def row(self) -> dict[str, str]:
        """For the table."""
        verdict = ("flat" if self.flat else "GROWS") if self.judged else "not judged"
        return {
            "what": self.group,
            "figure": self.name,
            "first quarter": number(self.first),
            "last quarter": number(self.last),
            "greatest": number(self.greatest),
            "verdict": verdict,
        }


def figures(samples: Sequence[Mapping[tuple[str, str], float]]) -> list[Figure]:
    """Compare the medians of the first and of the last quarter of the samples after the warm-up."""
    warm = samples[int(len(samples) * WARM_UP) :]
    quarter = max(len(warm) // 4, 1)
    found = []
    for group, name in warm[0]:
        values = [sample[group, name] for sample in warm if (group, name) in sample]
        found.append(Figure(group, name, median(values[:quarter]), median(values[-quarter:]), max(values)))
    return found


def of_process(pid: int) -> dict[str, float]:
    """Open files, threads, resident memory, and what of it is the process's own (anonymous); empty if it is gone."""
    held: dict[str, float] = {}
    with suppress(OSError):
        files = sum(1 for _ in (PROC / str(pid) / "fd").iterdir())
        fields = dict(
            line.split(":", 1)
            for line in Path(PROC / str(pid) / "status").read_text("utf-8").splitlines()
            if ":" in line
        )
        if "VmRSS" in fields:  # not of a process that has ended and was not waited for
            held = {
                "files": files,
                "threads": int(fields["Threads"]),
                "own MiB": int(fields["RssAnon"].split()[0]) / 1024,
                "RSS MiB": int(fields["VmRSS"].split()[0]) / 1024,
            }
    return held


def sample(groups: Mapping[str, Sequence[int]]) -> dict[tuple[str, str], float]:
    """For each group of processes how many there are, and what one of them holds on average."""
    found: dict[tuple[str, str], float] = {}
    for group, pids in groups.items():
        held = [figures for pid in pids if (figures := of_process(pid))]
        found[group, "processes"] = len(held)
        for name in held[0] if held else ():
            found[group, name] = sum(one[name] for one in held) / len(held)
    return found


class Sampler:
    """Samples in a thread of its own, every so many seconds, until the block ends."""

    def __init__(self, take: Callable[[], dict[tuple[str, str], float]], every: float) -> None:
        self._take = take
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples: list[dict[tuple[str, str], float]] = []
        self.failure: BaseException | None = None

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while not self._stop.is_set():
                self.samples.append(self._take())
                due += self._every
                self._stop.wait(max(due - time.monotonic(), 0.0))
        except BaseException as failure:  # noqa: BLE001 - handed over to the thread that waits
            self.failure = failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure
