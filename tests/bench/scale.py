"""What must not get slower with a million rows: a page deep in a list, and the job that ends expired plans."""

import http.client
import json
import os
import signal
import time
from dataclasses import dataclass

from tests.bench.figures import Cell, Sample, percentile
from tests.bench.service import REPEATS, SECONDS, Service, handler_times, reports, request

DEPTH = int(os.environ.get("BENCH_ROWS") or 1_000_000)
INITS = 7


@dataclass(frozen=True)
class Depth:
    """The first page and the one at depth `DEPTH`: over HTTP, and in the handler (ms)."""

    first: Cell
    deep: Cell
    first_handler: list[float]
    deep_handler: list[float]

    @property
    def ratio(self) -> float:
        return percentile(self.deep.latencies, 50) / percentile(self.first.latencies, 50)


@dataclass(frozen=True)
class Expiry:
    """The job's duration, how many plans it ended, and a reader's latencies without and during it; ms."""

    duration: float
    expired: int
    idle: Sample
    meanwhile: Sample


def measure_depth(service: Service) -> Depth:
    """List a corporation of so many videos, at its beginning and at its end, in turns."""
    from vms import pages

    corporation, people = service.found("Bench depth", 1)
    newest = service.videos(corporation, DEPTH + 21, "bench/none.mp4")
    service.database.execute("VACUUM ANALYZE video")
    # Newest first: what comes after so many rows lies below this id.
    cursor = pages.cursor_of(sorted(newest)[-DEPTH])
    first = [request("GET", "/v1/videos?limit=20", people[0].token)]
    deep = [request("GET", f"/v1/videos?limit=20&cursor={cursor}", people[0].token)]
    for requests in (first, deep):
        service.run(requests, 1, min(1.0, SECONDS))
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    handler: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for which, requests in enumerate((first, deep)):
            start = service.log_end()
            samples[which].append(service.run(requests, 1))
            handler[which].extend(handler_times(service.log_since(start), "GET /v1/videos"))
    return Depth(Cell(samples[0]), Cell(samples[1]), *handler)


def measure_expiry(service: Service) -> Expiry:
    """Run the job over so many corporations while a user of one that expires reads it."""
    corporation, people = service.found("Bench expiry", 1)
    service.database.execute(
        """INSERT INTO corporation (name, name_key, plan_type, plan_expired_at)
        SELECT 'Bench ' || i, 'bench ' || i, CASE WHEN i %% 4 = 0 THEN 'FREE' ELSE 'PAID' END, CASE
            WHEN i %% 4 = 0 THEN NULL WHEN i %% 20 = 1 THEN now() - interval '1 day' ELSE now() + interval '30 days' END
        FROM generate_series(1, %s) AS i""",
        (DEPTH,),
    )
    service.database.execute("VACUUM ANALYZE corporation")
    service.database.execute(
        "UPDATE corporation SET plan_expired_at = now() - interval '1 day' WHERE seq = %s", (corporation,)
    )
    reader = [request("GET", f"/v1/corporations/id/{corporation}", people[0].token)]
    service.run(reader, 1, 1.0)
    idle = service.run(reader, 1, 2.0)
    start = service.log_end()
    service.load.begin(service.url, reader, 1, 4.0)
    time.sleep(1.0)
    answer = invoke(service, "plan_expiry")
    meanwhile = Sample(**service.load.finish())
    time.sleep(0.2)
    durations, _ = reports(service.log_since(start), "PlanExpiryFunction")
    return Expiry(durations[-1], answer["plans_expired"], idle, meanwhile)


def measure_inits(service: Service, directory: str, function: str, requests: list[str]) -> list[float]:
    """Init durations, in ms, of workers that start on an idle machine; running ones are killed before each start."""
    found: list[float] = []
    for _ in range(INITS):
        for pid in service.workers(directory):
            os.kill(pid, signal.SIGKILL)
        time.sleep(1.5)  # the runner starts another by itself
        start = service.log_end()
        service.run(requests, 1, 0.01)
        time.sleep(0.1)
        found += reports(service.log_since(start), function)[1]
    return found


def invoke(service: Service, function: str) -> dict[str, int]:
    """Run a function once through the runner's Invoke API."""
    record = json.loads((service.directory / "runner.json").read_text("utf-8"))
    connection = http.client.HTTPConnection("127.0.0.1", record["port"], timeout=120)
    try:
        headers = {"Authorization": f"Bearer {record['token']}"}
        connection.request("POST", f"/2015-03-31/functions/{function}/invocations", b"{}", headers)
        answer: dict[str, int] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer
