"""Processes that are killed with SIGKILL under load: what was acknowledged is there, and nothing is counted twice."""

import itertools
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from os import kill
from pathlib import Path

import httpx
import psycopg
import pytest

from local import postgres
from tests.conftest import MIGRATIONS
from tests.e2e.clients import PASSWORD, Person, add_member, expect, found_company, log_in
from tests.e2e.films import bucket_of, put
from tests.runner import Runner
from tests.service import Service, Services, forget
from vms import database, migrations
from vms.migrations import Login

PROCESSES = Path("/proc")
pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(not (PROCESSES / "self").exists(), reason="this system does not show its processes in /proc"),
]

USERS, VIDEOS = 5, 100
ANSWERS_A_KILL = 10
CRASHES = 4


def workers(runner: Runner) -> list[int]:
    """The process ids of this runner's stream workers: they have its database in their environment."""
    mine = runner.environment["DATABASE_URL"].encode()
    found = []
    for process in PROCESSES.glob("[0-9]*/environ"):
        with suppress(OSError):
            said = process.read_bytes()
            if b"functions/stream\0" in said and mine in said:
                found.append(int(process.parent.name))
    return found


class Viewers:
    """Streams with eight clients at once.

    After every so many answers a worker is killed, while the other seven wait for theirs.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.killed = 0
        self._answers = itertools.count(1)
        self._chance = random.Random(20_261_125)
        self._killing = threading.Lock()

    def view(self, pair: tuple[Person, int]) -> str:
        """The status of a stream, or that it was cut after its head; a reset may overtake the head on its way."""
        viewer, video = pair
        try:
            return str(viewer.get(f"/v1/videos/stream/{video}").status_code)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            return "cut"

    def view_and_kill(self, pair: tuple[Person, int]) -> str:
        """The same, with a kill when it is time for one."""
        seen = self.view(pair)
        if next(self._answers) % ANSWERS_A_KILL == 0:
            with self._killing:
                pid = self._chance.choice(workers(self.runner))
                with suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)
                    self.killed += 1
        return seen


def test_workers_killed_under_load_lose_and_double_no_points(tmp_path: Path) -> None:
    with Runner(tmp_path / "local", BCRYPT_COST="4") as runner, httpx.Client(base_url=runner.url, timeout=120) as http:
        bucket = bucket_of(runner.environment)
        company = found_company(http)
        film = put(bucket, company, b"film" * 1000)
        viewers = [add_member(company.admin) for _ in range(USERS)]
        videos = [company.video(file_path=film) for _ in range(VIDEOS)]
        pairs = [(viewer, video) for video in videos for viewer in viewers]
        load = Viewers(runner)
        with ThreadPoolExecutor(8) as pool:
            seen = Counter(pool.map(load.view_and_kill, pairs))
            points = [viewer.me()["point"] for viewer in viewers]
            assert load.killed > USERS * VIDEOS // ANSWERS_A_KILL // 2
            assert set(seen) <= {"200", "502", "cut"}, seen
            assert set(pool.map(load.view, pairs)) == {"200"}
        assert [viewer.me()["point"] for viewer in viewers] == [10 * VIDEOS] * USERS
        print(f"{load.killed} workers killed, {dict(seen)}, points before the second pass {points}")
        with psycopg.connect(runner.environment["DATABASE_URL"]) as connection:
            assert connection.execute(
                """SELECT count(*), count(DISTINCT (user_id, video_id)), sum(point) FROM video_view_log
                WHERE user_id = ANY(%s)""",  # without the demo's
                ([viewer.id for viewer in viewers],),
            ).fetchone() == (USERS * VIDEOS, USERS * VIDEOS, 10 * USERS * VIDEOS)


def family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for status in PROCESSES.glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(status.parent.name))
    return found


def test_a_database_server_killed_under_acknowledged_writes_loses_none(
    in_process: Service, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("crashes") / "postgres"
    server = postgres.start(directory)
    try:
        migrations.apply(server.owner_url, MIGRATIONS, app=Login.of(server.url))
        with (
            pytest.MonkeyPatch.context() as patch,
            httpx.Client(base_url="http://localhost", transport=in_process.transport) as http,
        ):
            patch.setenv("DATABASE_URL", server.url)
            forget()
            database.close()
            company = found_company(http)
            film = put(services.storage, company, b"film")
            videos: set[int] = set()
            refused = 0
            for _ in range(CRASHES):
                pids, moment = (
                    family(int((server.directory / "data" / "postmaster.pid").read_text("ascii").split()[0])),
                    time.monotonic() + 1.0,
                )
                killer = threading.Thread(target=kill_at, args=(moment, pids))
                killer.start()
                while killer.is_alive() or not refused:
                    answer = company.admin.call("POST", "/v1/videos", {"name": "v", "file_path": film})
                    if answer.status_code == 201:
                        video = answer.json()["id"]
                        videos.add(video)
                        if company.guest.get(f"/v1/videos/stream/{video}").status_code == 200:
                            videos.add(-video)  # the view was acknowledged too
                    else:
                        assert answer.status_code == 503
                        refused += 1
                killer.join()
                if server.process is not None:
                    server.process.wait()
                server = postgres.start(directory)
                check(server, company.guest, videos)
            assert refused
            log_in(http, company.guest.email, PASSWORD)
            expect(company.guest.get("/v1/auth/me"), 200)
            database.close()
    finally:
        server.stop()
        forget()


def kill_at(moment: float, pids: list[int]) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
    for pid in pids:
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def check(server: postgres.Postgres, viewer: Person, acknowledged: set[int]) -> None:
    """Every acknowledged video and view is there, and the viewer's points are the sum of its views."""
    with psycopg.connect(server.url) as connection:
        there = {row[0] for row in connection.execute("SELECT seq FROM video")}
        views = {-row[0] for row in connection.execute("SELECT video_id FROM video_view_log WHERE point = 10")}
        assert len(acknowledged) > 20
        assert acknowledged <= there | views
        row = connection.execute('SELECT point FROM "user" WHERE seq = %s', (viewer.id,)).fetchone()
        assert row == (10 * len(views),)
