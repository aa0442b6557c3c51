"""`make soak MINUTES=10`: a mixed load on a runner of its own, for so long.

Samples what the processes hold meanwhile. Fails if an answer was not the contract's, if a view or its points are
missing or doubled, or if files, threads, memory, processes or connections to PostgreSQL grow.
"""

import hashlib
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from tests import environment
from tests.bench import processes
from tests.bench.figures import table
from tests.bench.processes import descendants, machine
from tests.e2e.clients import Company, found_company
from tests.e2e.films import bucket_of
from tests.runner import Runner
from tests.soak.callers import Caller, Clock, Film, Record, SlowReader, pause
from tests.soak.samples import CONNECTIONS, Figure, Sampler, figures, sample
from vms.paths import object_key

COMPANIES, CALLERS, SLOW_READERS = 2, 4, 2
SMALL, LARGE = 64 * 1024, 8 * 1024 * 1024
MAX_SAMPLES = 600


@dataclass(frozen=True)
class Outcome:
    """What a soak found."""

    seconds: float
    figures: list[Figure]
    record: Record
    broken: list[str]

    @property
    def good(self) -> bool:
        return not self.record.failures and not self.broken and all(one.flat for one in self.figures if one.judged)


def soak(seconds: float, directory: Path) -> Outcome:
    """Put load on a runner over this directory for so long, and hold what it did against what it promises."""
    with (
        Runner(directory, BCRYPT_COST="4") as runner,
        psycopg.connect(runner.environment["DATABASE_URL"], autocommit=True) as database,
        httpx.Client(base_url=runner.url, timeout=60, trust_env=False) as http,
    ):
        record, stop = Record(), threading.Event()
        companies = [found_company(http) for _ in range(COMPANIES)]
        films = _film(runner, companies, "soak/small.mp4", SMALL), _film(runner, companies, "soak/large.mp4", LARGE)
        threads: list[threading.Thread] = [
            (Caller if number < CALLERS else SlowReader)(companies[number % COMPANIES], films, record, stop, number)
            for number in range(CALLERS + SLOW_READERS)
        ]
        threads.append(Clock(lambda: _invoke(runner), lambda: _expired(http, database), record, stop))
        started = time.monotonic()
        with Sampler(lambda: _sample(runner, database), max(seconds / MAX_SAMPLES, 0.25)) as sampler:
            for thread in threads:
                thread.start()
            try:
                pause(seconds, stop, threads)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
        took = time.monotonic() - started
        if took < seconds:
            record.failures.append(f"a caller ended after {took:.0f} of {seconds:.0f} s")
        return Outcome(took, figures(sampler.samples), record, invariants(database, record))


def invariants(database: psycopg.Connection, record: Record) -> list[str]:
    """Which of the promises about views and points do not hold; a line each."""
    members = """SELECT l.user_id, l.video_id FROM video_view_log l JOIN "user" u ON u.seq = l.user_id
        WHERE u.email LIKE '%@paid.example' OR u.email LIKE '%@free.example'"""
    demo = set(database.execute(members).fetchall())
    broken = []
    for user, point, logged in database.execute(
        """SELECT u.seq, u.point, coalesce(sum(l.point), 0)
        FROM "user" u LEFT JOIN video_view_log l ON l.user_id = u.seq
        GROUP BY u.seq HAVING u.point <> coalesce(sum(l.point), 0)"""
    ):
        broken.append(f"user {user} has {point} points, and {logged} in its views")
    rows = database.execute("SELECT user_id, video_id, point FROM video_view_log").fetchall()
    if len({(user, video) for user, video, _ in rows}) != len(rows):
        broken.append("a member has two views of one video")
    granted = {(user, video) for user, video, point in rows if point == 10} - demo
    if granted != record.viewed:
        lost, unearned = len(record.viewed - granted), len(granted - record.viewed)
        broken.append(f"{lost} streams that began have no points, {unearned} views have points without a stream")
    return broken


def _sample(runner: Runner, database: psycopg.Connection) -> dict[tuple[str, str], float]:
    children = list(processes.children(runner.pid))
    groups = {
        "runner": [runner.pid],
        "workers": [pid for pid in children if processes.working_directory(pid).parent.name == "functions"],
    }
    for name, file in (("PostgreSQL", "postgres/data/postmaster.pid"), ("S3", "s3/pid")):
        groups[name] = descendants(int((runner.directory / file).read_text("ascii").split()[0]))
    row = database.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'").fetchone()
    assert row is not None
    return {**sample(groups), ("PostgreSQL", CONNECTIONS): float(row[0])}


def _film(runner: Runner, companies: Sequence[Company], path: str, size: int) -> Film:
    storage, content = bucket_of(runner.environment), os.urandom(size)
    for company in companies:
        status = storage.request("PUT", object_key(company.id, path), content).status
        assert status == 200, f"S3 answered {status}"
    return Film(path, size, hashlib.sha256(content).hexdigest())


def _invoke(runner: Runner) -> None:
    done = runner.command("invoke", "plan_expiry", "events/plan_expiry.json")
    assert done.returncode == 0, done.stderr


def _expired(http: httpx.Client, database: psycopg.Connection) -> Company:
    company = found_company(http)
    database.execute("UPDATE corporation SET plan_expired_at = now() - interval '1 s' WHERE seq = %s", (company.id,))
    return company


def main(arguments: list[str]) -> int:
    """Run for so many minutes and print what was found; 1 if a promise was broken."""
    try:
        seconds = float(arguments[0]) * 60
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        print(f"error: MINUTES must be a number above 0, not {arguments[0]!r}", file=sys.stderr)
        return 1
    environment.clear()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="vms-soak-", ignore_cleanup_errors=True) as place:
        outcome = soak(seconds, Path(place) / "local")
    print(table([one.row() for one in outcome.figures]))
    done = outcome.record.done
    print(
        f"\n{done.total()} actions in {outcome.seconds:.0f} s: {', '.join(f'{n} {a}' for a, n in done.most_common())}."
    )
    print(f"{len(outcome.record.viewed)} views began.")
    for line in (*outcome.broken, *outcome.record.failures[:20]):
        print(line)
    print("All answers were the contract's, all points are right, and nothing grows." if outcome.good else "FAILED")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
