"""The measured service: a runner in a directory of its own, its log, processes and data, and the load on it."""

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bcrypt
import psycopg

from tests import environment
from tests.bench import processes
from tests.bench.figures import Sample, percentile
from tests.e2e.films import bucket_of
from tests.runner import Runner
from vms import jwts
from vms.paths import object_key

ROOT = Path(__file__).parents[2]
# Seconds that each run of a cell takes, how often it is repeated, and how long it is warmed up before.
SECONDS = float(os.environ.get("BENCH_SECONDS") or 3.0)
REPEATS = 3
# The interpreter that the runner and its workers use. What else is installed beside it counts: PyJWT imports
# cryptography where there is one.
PYTHON = os.environ.get("BENCH_PYTHON") or sys.executable
CONNECTIONS = (1, 8, 32)
PASSWORD = "correct horse 1"
TOKEN_SECONDS = 7200

_REPORT = re.compile(r"REPORT .*?\tDuration: ([0-9.]+) ms\t(?:.*?Init Duration: ([0-9.]+) ms\t)?.*Function: (\w+)$")


@dataclass(frozen=True)
class Person:
    """A user to send requests as."""

    id: int
    email: str
    token: str


class Load:
    """The process that sends requests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load"],
            cwd=ROOT,
            env=environment.of_child(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid

    def begin(self, url: str, requests: Sequence[str], connections: int, seconds: float, **more: bool) -> None:
        """Send requests in turn over so many connections; `finish` brings the result."""
        parts = urlsplit(url)
        plan: dict[str, Any] = {"once": False, "cut": False, **more, "connections": connections, "seconds": seconds}
        # 127.0.0.1 rather than localhost: no look-up, and one address family.
        plan |= {"host": "127.0.0.1", "port": parts.port, "requests": list(requests)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(plan).encode() + b"\n")
        self._process.stdin.flush()

    def finish(self) -> dict[str, Any]:
        """The result of the plan that was begun."""
        assert self._process.stdout is not None
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        result["statuses"] = {
            int(status): count for status, count in result["statuses"].items()
        }  # JSON's keys are texts
        return result

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class Service:
    """A running runner."""

    def __init__(self, runner: Runner, load: Load) -> None:
        self.directory, self.log, self.pid = runner.directory, runner.log, runner.pid
        self.load = load
        self.others: list[
            float
        ] = []  # what share of the processors each run of the load left to processes that have no part in it
        self.environment = runner.environment
        self.url = self.environment["API_URL"]
        self.s3_url = self.environment["AWS_ENDPOINT_URL_S3"]
        self.database = psycopg.connect(self.environment["DATABASE_OWNER_URL"], autocommit=True)  # who may VACUUM
        # For vms.jwts and vms.aws, which sign here as the functions do.
        os.environ |= {**self.environment, "JWT_KEYS": str(self.directory / "jwt-keys.json")}

    # Processes.

    def workers(self, function: str | None = None) -> list[int]:
        """The worker processes, of all functions or of one, by the name of its directory."""
        places = {pid: processes.working_directory(pid) for pid in processes.children(self.pid)}
        return [
            pid for pid, place in places.items() if place.parent.name == "functions" and function in {None, place.name}
        ]

    def groups(self) -> dict[str, list[int]]:
        """All processes that have a part in a request, by what they are."""
        groups = {"runner": [self.pid], "workers": self.workers(), "client": [self.load.pid]}
        for name, file in (("PostgreSQL", "postgres/data/postmaster.pid"), ("S3", "s3/pid")):
            groups[name] = processes.descendants(int((self.directory / file).read_text("ascii").split()[0]))
        return groups

    # The log.

    def log_end(self) -> int:
        """How many bytes the log has now."""
        return self.log.stat().st_size

    def log_since(self, start: int) -> list[str]:
        """The log's lines from that byte on."""
        with self.log.open("rb") as log:
            log.seek(start)
            return log.read().decode("utf-8", "replace").splitlines()

    # Load.

    def run(
        self, requests: Sequence[str], connections: int, seconds: float = SECONDS, *, url: str = "", **more: bool
    ) -> Sample:
        """One run of the load, with the CPU time that each group of processes used meanwhile."""
        busy, began = processes.busy_seconds(), time.perf_counter()
        before = processes.cpu_seconds(pid for pids in self.groups().values() for pid in pids)
        self.load.begin(url or self.url, requests, connections, seconds, **more)
        result = self.load.finish()
        # A process that has come since counts whole; one that has gone does not count.
        cpu = {
            name: sum(used - before.get(pid, 0.0) for pid, used in processes.cpu_seconds(pids).items())
            for name, pids in self.groups().items()
        }
        others = processes.busy_seconds() - busy - sum(cpu.values())
        self.others.append(max(others, 0.0) / (time.perf_counter() - began) / processes.cores())
        return Sample(**result, cpu=cpu)

    def noise(self) -> str:
        """How busy the machine was with other things."""
        return (
            f"Other processes used {percentile(self.others, 50):.0%} of the processors during the median run and "
            f"{max(self.others):.0%} during the worst. Above a few per cent, compare ratios within this run only."
        )

    # Data.

    def found(self, name: str, users: int, *, role: str = "guest") -> tuple[int, list[Person]]:
        """Make a corporation with so many users, who share one password; returns its id and them.

        The first is an admin.
        """

        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode()
        corporation = self.value(
            "INSERT INTO corporation (name, name_key, plan_type) VALUES (%s, %s, 'PAID') RETURNING seq", name, name
        )
        mark = secrets.token_hex(4)
        rows = self.database.execute(
            """INSERT INTO "user" (email, email_key, password, role, corporation_id)
            SELECT email, email, %s, CASE WHEN i = 1 THEN 'admin' ELSE %s END, %s
            FROM generate_series(1, %s) AS i, concat('bench-', %s::text, '-', i, '@example.com') AS email RETURNING seq,
            email, role""",
            (hashed, role, corporation, users, mark),
        ).fetchall()
        return corporation, [
            Person(seq, email, jwts.issue("access", seq, corporation, has, TOKEN_SECONDS)) for seq, email, has in rows
        ]

    def videos(self, corporation: int, count: int, path: str) -> list[int]:
        """Add so many videos of one file of the corporation's folder; returns their ids."""
        rows = self.database.execute(
            """INSERT INTO video (name, file_path, corporation_id)
            SELECT 'Video ' || i, %s, %s FROM generate_series(1, %s) AS i RETURNING seq""",
            (path, corporation, count),
        ).fetchall()
        return [seq for (seq,) in rows]

    def store(self, corporation: int, path: str, size: int) -> str:
        """Put a file of so many bytes into the corporation's folder; returns its key."""
        key = object_key(corporation, path)
        storage = bucket_of({**self.environment, "AWS_ENDPOINT_URL_S3": self.s3_url})
        status = storage.request(
            "PUT", key, os.urandom(1024 * 1024) * (size // 2**20) + os.urandom(size % 2**20)
        ).status
        assert status == 200, f"S3 answered {status}"
        return key

    def value(self, sql: str, *parameters: object) -> int:
        """The one value that a statement returns."""
        row = self.database.execute(sql.encode(), parameters).fetchone()
        assert row is not None
        return int(row[0])


@contextlib.contextmanager
def running() -> Iterator[Service]:
    """A runner on a free port, in a directory of its own that is gone afterwards."""
    environment.clear()  # psycopg and the SDK read more names than the service's
    with (
        tempfile.TemporaryDirectory(prefix="vms-bench-", ignore_cleanup_errors=True) as place,
        Runner(Path(place) / "local", PYTHON, BCRYPT_COST="12", LOG="raw") as runner,
        contextlib.closing(Load()) as load,
    ):
        service = Service(runner, load)
        with service.database:
            yield service


def reports(lines: Sequence[str], function: str) -> tuple[list[float], list[float]]:
    """Durations and init durations, in ms, from the REPORT lines of a function, by its logical id."""
    found = [match for line in lines if (match := _REPORT.match(line)) and match[3] == function]
    return [float(match[1]) for match in found], [float(match[2]) for match in found if match[2]]


def handler_times(lines: Sequence[str], route: str) -> list[float]:
    """What the functions measured inside of their handlers, in ms: the Latency metric of a route."""
    found: list[float] = []
    for line in lines:
        if line.startswith("{") and '"Latency"' in line and f'"{route}"' in line:
            value = json.loads(line)["Latency"]
            found += value if isinstance(value, list) else [value]
    return found


def request(method: str, path: str, token: str = "", body: object = None, **headers: str) -> str:
    """A whole HTTP request."""
    text = "" if body is None else json.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if text:
        lines += ["Content-Type: application/json", f"Content-Length: {len(text)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines) + "\r\n\r\n" + text
