"""`make bench-stream`: files through the runner and the same files straight from the S3 server, in turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.bench import processes
from tests.bench.figures import Cell, Sample, number, pair, paired_ratio, percentile, spread, table
from tests.bench.service import CONNECTIONS, REPEATS, SECONDS, Person, Service, request, running

MIB = 1024 * 1024
SIZES = (1, 8, 64, 256)  # MiB
MAX_GROWTH = 16.0  # MiB
MAX_DELAY = 8.0  # ms, beyond S3's own first byte
MIN_SPEED = {1: 0.75, 8: 0.7}  # of S3's own, by connections, for the largest file

# The strongest variant of the server that this project replaces (MB/s; first byte in ms), by MiB and connections, on
# another machine.
REFERENCE: Mapping[tuple[int, int], tuple[float, float | None]] = {
    (1, 1): (121, 8),
    (1, 8): (120, None),
    (1, 32): (89, None),
    (256, 1): (449, 9),
    (256, 8): (468, None),
    (256, 32): (370, None),
}


@dataclass(frozen=True)
class Streams:
    """The runs of one size and number of connections: through the runner, and S3 alone; MiB that processes grew by."""

    size: int
    connections: int
    ours: Cell
    theirs: Cell
    runner_growth: float
    worker_growth: float

    @property
    def ratio(self) -> float:
        return paired_ratio(self.ours.speeds, self.theirs.speeds)

    @property
    def delay(self) -> float:
        """How much later than S3's own the first byte comes, in ms: medians."""
        return percentile(self.ours.first, 50) - percentile(self.theirs.first, 50)

    def short_of(self, largest: int) -> list[str]:
        """The goals that are missed."""
        least = MIN_SPEED.get(self.connections, 0.0) if self.size == largest else 0.0
        missed = ["speed"] if self.ratio < least else []
        if self.connections == 1 and self.delay > MAX_DELAY:
            missed.append("first byte")
        if max(self.runner_growth, self.worker_growth) > MAX_GROWTH:
            missed.append("memory")
        return missed


@dataclass
class Memory:
    """What the runner and the stream's workers hold when idle, in MiB."""

    service: Service
    idle: dict[int, float] = field(default_factory=dict)

    def settle(self) -> None:
        """Take the present for idle, and forget the peaks."""
        self.idle = {}
        for pid in (self.service.pid, *self.service.workers("stream")):
            processes.forget_peak(pid)
            self.idle[pid] = processes.memory_mib(pid)[0]

    def growth(self) -> tuple[float, float]:
        """Peak over idle since then: the runner's, and that of the worker which grew the most.

        A worker that was only starting then, or came later, counts from what the others held.
        """
        workers = [value for pid, value in self.idle.items() if pid != self.service.pid]
        usual = median(workers) if workers else 0.0
        grown = [
            processes.memory_mib(pid)[1] - max(self.idle.get(pid, usual), usual)
            for pid in self.service.workers("stream")
        ]
        runner = processes.memory_mib(self.service.pid)[1] - self.idle[self.service.pid]
        return runner, max(grown, default=0.0)


def prepare(service: Service, sizes: Sequence[int]) -> tuple[Person, dict[int, tuple[int, str]]]:
    """Store a file of each size; returns who may stream them, and by size their videos' ids and their keys."""
    corporation, people = service.found("Bench streams", 1)
    found: dict[int, tuple[int, str]] = {}
    for size in sizes:
        key = service.store(corporation, f"bench/{size}.mp4", size * MIB)
        found[size] = service.videos(corporation, 1, f"bench/{size}.mp4")[0], key
    return people[0], found


def measure(service: Service, sizes: Sequence[int], connections: Sequence[int]) -> list[Streams]:
    """All cells; each run through the runner is followed by one against S3 alone."""
    person, videos = prepare(service, sizes)
    memory = Memory(service)
    results: list[Streams] = []
    for count in connections:
        # As many workers as there are connections, each of which has streamed before its memory is taken for idle.
        smallest = [request("GET", f"/v1/videos/stream/{videos[min(sizes)][0]}", person.token)]
        service.run(smallest, count, max(2.0, count / 6), cut=True)
        results += [_streams(service, memory, person, *videos[size], size, count) for size in sizes]
    return results


def _streams(service: Service, memory: Memory, person: Person, video: int, key: str, size: int, count: int) -> Streams:
    requests = [request("GET", f"/v1/videos/stream/{video}", person.token)]
    ours: list[Sample] = []
    theirs: list[Sample] = []
    runner_growth = worker_growth = 0.0
    for repeat in range(REPEATS + 1):  # the first is for warming up
        memory.settle()
        seconds = SECONDS if repeat else min(1.0, SECONDS)
        sample = service.run(requests, count, seconds, cut=True)
        grown = memory.growth()
        runner_growth, worker_growth = max(runner_growth, grown[0]), max(worker_growth, grown[1])
        alone = service.run([signed(service, key)], count, seconds, url=service.s3_url, cut=True)
        if repeat:
            ours.append(sample)
            theirs.append(alone)
    return Streams(size, count, Cell(ours), Cell(theirs), runner_growth, worker_growth)


def signed(service: Service, key: str) -> str:
    """A GET of the object straight from S3, good for some minutes (Signature Version 4)."""
    from vms import aws

    path = f"/{service.environment['VIDEO_BUCKET']}/{key}"
    headers = aws.sign_s3("GET", service.s3_url + path, {}, service.environment["AWS_REGION"])
    host = service.s3_url.partition("//")[2]
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines) + "\r\n\r\n"


def rows(results: Sequence[Streams]) -> list[dict[str, str]]:
    """The table's rows."""
    largest = max(result.size for result in results)
    shown: list[dict[str, str]] = []
    for result in results:
        ours, theirs = result.ours, result.theirs
        speed = median(ours.speeds)
        reference = REFERENCE.get((result.size, result.connections))
        cpu = ours.cpu_microseconds(sum(sample.bytes for sample in ours.samples) / 1e6)
        goals = []
        if result.size == largest and result.connections in MIN_SPEED:
            goals.append(f">= {MIN_SPEED[result.connections]} of S3's own")
        if result.connections == 1:
            goals.append(f"first byte <= S3's + {MAX_DELAY:g} ms")
        goals.append(f"growth <= {MAX_GROWTH:g} MiB")
        missed = result.short_of(largest)
        shown.append(
            {
                "work": f"stream {result.size} MiB",
                "connections": str(result.connections),
                "measured": f"{number(speed)} MB/s",
                "spread": f"{spread(ours.speeds):.0%}",
                "p50 / p99 ms": pair(ours.latencies),
                "first byte p50 / p99 ms": pair(ours.first),
                "CPU us a request (streams: a MB)": cpu_text(cpu),
                "reference": f"{number(reference[0])} MB/s" if reference else "",
                "x reference": number(speed / reference[0]) if reference else "",
                "S3 alone, same run": f"{number(median(theirs.speeds))} MB/s, first byte {pair(theirs.first)} ms",
                "of S3's own": number(result.ratio),
                "memory growth MiB, runner / worker": " / ".join(
                    (number(result.runner_growth), number(result.worker_growth))
                ),
                "goal": ", ".join(goals),
                "met": "short: " + ", ".join(missed) if missed else "yes",
                "failures": str(ours.failures + theirs.failures or ""),
            }
        )
    return shown


def cpu_text(cpu: Mapping[str, float]) -> str:
    """CPU time by process, the ones that took any."""
    return ", ".join(f"{name} {value:,.0f}" for name, value in cpu.items() if value >= 1)


def main() -> None:
    """Measure and print."""
    print(f"Machine: {processes.machine()}")
    with running() as service:
        print(
            f"{REPEATS} runs of {SECONDS:g} s in each cell, medians; spread is (greatest - least) / median.", flush=True
        )
        results = measure(service, SIZES, CONNECTIONS)
    print(f"\n{table(rows(results))}\n\n{service.noise()}")
    print(
        "The reference is another server (httpx streams, files from nginx), measured on another machine. "
        "S3's own figures are of this run, each measured right after its neighbour. "
        "Client, runner, workers and S3 share the cores."
    )


if __name__ == "__main__":
    main()
