"""`make bench`: everything that has a goal, in one table. A report, never a gate: it ends well whatever it finds."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from statistics import median

from tests.bench import grants, history, peer, processes, scale, stream
from tests.bench.figures import Cell, number, pair, percentile, spread, table
from tests.bench.service import (
    CONNECTIONS,
    PASSWORD,
    REPEATS,
    SECONDS,
    Person,
    Service,
    handler_times,
    reports,
    request,
    running,
)

# Requests a second by connections of the server that this project replaces, on another machine.
REFERENCE: Mapping[str, Mapping[int, float]] = {
    "get one video": {1: 582, 8: 497, 32: 532},
    "list 20 videos": {1: 316, 8: 385, 32: 331},
    "create a video": {1: 208, 8: 253, 32: 273},
    "log-in (bcrypt 12)": {1: 4, 8: 8, 32: 7.7},
    "view + points, new pairs": {1: 172, 8: 266, 32: 245},
}
# Times the reference, with 8 connections.
GOALS = {"get one video": 3.0, "list 20 videos": 3.0, "create a video": 3.0, "view + points, new pairs": 4.0}
MAX_HANDLER_MS = 0.5
MAX_ADDED_MS = 0.5
MAX_INIT_MS = {"stream": 200.0, "videos": 300.0, "auth": 300.0, "corporations": 300.0, "users": 300.0}
MAX_EXPIRY_MS = 2000.0
VIEWERS, WATCHED = 200, 1000

type Row = dict[str, str]


@dataclass(frozen=True)
class Work:
    """A kind of request: what to send, which function answers, and its route in the log.

    `fresh` makes requests that are sent once.
    """

    name: str
    function: str
    route: str
    requests: Sequence[str] = ()
    fresh: Callable[[int], list[str]] | None = None


def works(service: Service) -> list[Work]:
    """The kinds of request, their data made."""
    corporation, people = service.found("Bench", VIEWERS)
    service.store(corporation, "bench/tiny.mp4", 1)
    ids = service.videos(corporation, WATCHED, "bench/tiny.mp4")
    service.database.execute("VACUUM ANALYZE")
    admin = people[0]
    pairs = product(service.videos(corporation, WATCHED, "bench/tiny.mp4"), people)  # the same viewer comes again last

    def views(count: int) -> list[str]:
        return [_view(video, person) for video, person in islice(pairs, count)]

    return [
        Work(
            "get one video",
            "VideosFunction",
            "GET /v1/videos/id/{video_id}",
            [request("GET", f"/v1/videos/id/{video}", admin.token) for video in ids],
        ),
        Work(
            "list 20 videos",
            "VideosFunction",
            "GET /v1/videos",
            [request("GET", "/v1/videos?limit=20", admin.token)],
        ),
        Work(
            "create a video",
            "VideosFunction",
            "POST /v1/videos",
            [request("POST", "/v1/videos", admin.token, {"name": "Bench", "file_path": "bench/none.mp4"})],
        ),
        Work("view + points, new pairs", "StreamFunction", "", fresh=views),
        Work(
            "log-in (bcrypt 12)",
            "AuthFunction",
            "POST /v1/auth/login",
            [
                request("POST", "/v1/auth/login", body={"email": person.email, "password": PASSWORD})
                for person in people
            ],
        ),
    ]


def _view(video: int, person: Person) -> str:
    return request("GET", f"/v1/videos/stream/{video}", person.token, Range="bytes=0-0")


def measure_work(service: Service, work: Work) -> list[Row]:
    """A row for each number of connections; for the first of them also what its handler and the runner take."""
    rows: list[Row] = []
    for connections in CONNECTIONS:
        once = work.fresh is not None
        warm = service.run(_requests(work, 500), connections, min(1.0, SECONDS), once=once)
        start = service.log_end()
        most = int(warm.requests_per_second * SECONDS * 1.5) + 100
        cell = Cell([service.run(_requests(work, most), connections, once=once) for _ in range(REPEATS)])
        rows.append(_work_row(work, connections, cell))
        if connections == 1:
            rows += _time_rows(work, cell, service.log_since(start))
    return rows


def _requests(work: Work, count: int) -> Sequence[str]:
    return work.requests if work.fresh is None else work.fresh(count)


def _work_row(work: Work, connections: int, cell: Cell) -> Row:
    rate, reference = median(cell.rates), REFERENCE[work.name][connections]
    goal = GOALS.get(work.name) if connections == 8 else None
    return {
        "work": work.name,
        "connections": str(connections),
        "measured": f"{number(rate)} req/s",
        "spread": f"{spread(cell.rates):.0%}",
        "p50 / p99 ms": pair(cell.latencies),
        "first byte p50 / p99 ms": "",
        "CPU us a request (streams: a MB)": stream.cpu_text(
            cell.cpu_microseconds(sum(sample.done for sample in cell.samples))
        ),
        "reference": f"{number(reference)} req/s",
        "x reference": number(rate / reference),
        "S3 alone, same run": "",
        "of S3's own": "",
        "memory growth MiB, runner / worker": "",
        "goal": f">= {goal:g} x reference" if goal else "",
        "met": "" if goal is None else _met(rate / reference >= goal),
        "failures": str(cell.failures or ""),
    }


def _time_rows(work: Work, cell: Cell, lines: Sequence[str]) -> list[Row]:
    durations, _ = reports(lines, work.function)
    inside = handler_times(lines, work.route) if work.route else []
    added = percentile(cell.latencies, 50) - percentile(durations, 50)
    is_get = work.name == "get one video"
    rows: list[Row] = []
    if inside:
        rows.append(
            {
                "work": f"{work.name}: inside the handler",
                "connections": "1",
                "measured": f"{number(percentile(inside, 50))} ms",
                "p50 / p99 ms": pair(inside),
                "goal": f"<= {MAX_HANDLER_MS:g} ms" if is_get else "",
                "met": _met(percentile(inside, 50) <= MAX_HANDLER_MS) if is_get else "",
            }
        )
    rows.append(
        {
            "work": f"{work.name}: Duration of the REPORT lines",
            "connections": "1",
            "measured": f"{number(percentile(durations, 50))} ms",
            "p50 / p99 ms": pair(durations),
        }
    )
    rows.append(
        {
            "work": f"{work.name}: added by the runner",
            "connections": "1",
            "measured": f"{number(added)} ms",
            "goal": f"<= {MAX_ADDED_MS:g} ms",
            "met": _met(added <= MAX_ADDED_MS),
        }
    )
    return rows


def measure_grants(service: Service) -> list[Row]:
    """What of a view is not S3 and not HTTP: its one statement."""
    rows: list[Row] = []
    for connections in (1, 8):
        rates = grants.measure(service, connections)
        reference = REFERENCE["view + points, new pairs"][connections]
        goal = GOALS["view + points, new pairs"] if connections == 8 else None
        rows.append(
            {
                "work": "view + points: its statement alone",
                "connections": str(connections),
                "measured": f"{number(median(rates))} a second",
                "spread": f"{spread(rates):.0%}",
                "reference": f"{number(reference)} req/s",
                "x reference": number(median(rates) / reference),
                "goal": f">= {goal:g} x reference" if goal else "",
                "met": "" if goal is None else _met(median(rates) / reference >= goal),
            }
        )
    return rows


def measure_inits(service: Service) -> list[Row]:
    """Start of the process to its first `next`, from the Init Duration of REPORT lines."""
    corporation, people = service.found("Bench init", 1)
    service.store(corporation, "bench/tiny.mp4", 1)
    token, video = people[0].token, service.videos(corporation, 1, "bench/tiny.mp4")[0]
    paths = {
        "stream": f"/v1/videos/stream/{video}",
        "videos": f"/v1/videos/id/{video}",
        "auth": "/v1/auth/me",
        "corporations": f"/v1/corporations/id/{corporation}",
        "users": f"/v1/users/id/{people[0].id}",
    }
    rows: list[Row] = []
    for directory, path in paths.items():
        function = f"{directory.capitalize()}Function"
        found = scale.measure_inits(service, directory, function, [request("GET", path, token)])
        most = MAX_INIT_MS[directory]
        rows.append(
            {
                "work": f"init of the {directory} function",
                "measured": f"{number(median(found)) if found else '-'} ms",
                "spread": f"{spread(found):.0%}",
                "reference": "977 ms",
                "x reference": number(median(found) / 977) if found else "",
                "goal": f"<= {most:g} ms",
                "met": _met(bool(found) and median(found) <= most),
            }
        )
    return rows


def measure_scale(service: Service) -> list[Row]:
    """Deep pages and the expiry job."""
    depth = scale.measure_depth(service)
    inside = percentile(depth.deep_handler, 50) / percentile(depth.first_handler, 50)
    rows: list[Row] = [
        {
            "work": f"page 1 of {scale.DEPTH:,} videos",
            "connections": "1",
            "measured": f"{number(percentile(depth.first.latencies, 50))} ms",
            "spread": f"{spread(depth.first.rates):.0%}",
            "p50 / p99 ms": pair(depth.first.latencies),
        },
        {
            "work": f"page at depth {scale.DEPTH:,}: {number(depth.ratio)} x page 1, in the handler {number(inside)} x",
            "connections": "1",
            "measured": f"{number(percentile(depth.deep.latencies, 50))} ms",
            "spread": f"{spread(depth.deep.rates):.0%}",
            "p50 / p99 ms": pair(depth.deep.latencies),
            "goal": "page 1 +- 20 %",
            "met": _met(0.8 <= depth.ratio <= 1.2),
            "failures": str(depth.first.failures + depth.deep.failures or ""),
        },
    ]
    expiry = scale.measure_expiry(service)
    rows.append(
        {
            "work": f"expiry job, {scale.DEPTH:,} corporations, {expiry.expired:,} expired",
            "measured": f"{expiry.duration / 1000:.2f} s",
            "goal": f"< {MAX_EXPIRY_MS / 1000:g} s",
            "met": _met(expiry.duration < MAX_EXPIRY_MS),
        }
    )
    idle, meanwhile = max(expiry.idle.latencies), max(expiry.meanwhile.latencies)
    rows.append(
        {
            "work": f"a reader of an expiring corporation meanwhile: longest wait (otherwise {number(idle)} ms)",
            "connections": "1",
            "measured": f"{number(meanwhile)} ms",
            "p50 / p99 ms": pair(expiry.meanwhile.latencies),
            "goal": "never blocked (a tenth of the job)",
            "met": _met(meanwhile < max(expiry.duration / 10, 50.0)),
            "failures": str(expiry.meanwhile.failures() or ""),
        }
    )
    return rows


def memory_rows(service: Service) -> list[Row]:
    """Peaks since the start."""
    _, peak = processes.memory_mib(service.pid)
    workers = [(processes.memory_mib(pid)[1], processes.working_directory(pid).name) for pid in service.workers()]
    greatest, name = max(workers)
    return [
        {"work": "runner, peak memory", "measured": f"{peak:.0f} MiB"},
        {"work": f"workers, peak memory (the largest: {name}, of {len(workers)})", "measured": f"{greatest:.0f} MiB"},
    ]


def _met(met: bool) -> str:
    return "yes" if met else "short"


def progress(text: str) -> None:
    """Say on the standard error what is being measured."""
    print(f"... {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    print(f"Machine: {processes.machine()}")
    print(
        f"{REPEATS} runs of {SECONDS:g} s in each cell, medians; spread is (greatest - least) / median. "
        "Client, runner, workers, PostgreSQL and S3 "
        "share the cores.",
        flush=True,
    )
    rows: list[Row] = []
    with running() as service:
        for work in works(service):
            progress(work.name)
            rows += measure_work(service, work)
        progress("grants")
        rows += measure_grants(service)
        progress("init")
        rows += measure_inits(service)
        progress("streams")
        rows += stream.rows(stream.measure(service, (1, 8, 256), CONNECTIONS))
        rows += memory_rows(service)
        progress("a million rows")
        rows += measure_scale(service)
        rows += history.rows(service)
    print(f"\n{table(rows)}\n\n{service.noise()}")
    print(
        "The reference was measured on another machine: compare on a similar one only. S3's own are of this run. "
        "A view is a GET of one byte by a user of a video that it has not seen: it asks S3 and grants points. "
        "Init times are of this environment; one with local/requirements.txt alone (BENCH_PYTHON=...) is faster."
    )


if __name__ == "__main__":
    if peer_url := os.environ.get("PEER"):
        peer.main(peer_url)
    else:
        main()
