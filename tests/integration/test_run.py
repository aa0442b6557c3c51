"""`python -m local` as a whole: PostgreSQL, S3 and the project's own template, started, killed, stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from local import postgres
from local.daemon import runs_with

ROOT = Path(__file__).resolve().parents[2]


class Runner:
    """A runner on a free port with a data directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "LOCAL_DIR": str(directory), "PORT": "0", "BCRYPT_COST": "4"}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory.with_name("log")

    def start(self, **environment: str) -> dict[str, str]:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local", "run"],
                cwd=ROOT,
                env=self.environment | environment,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.env.exists() and self.record().get("pid") == self.process.pid:
                return dict(line.split("=", 1) for line in self.env.read_text().splitlines())
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    @property
    def env(self) -> Path:
        return self.directory / "env"

    def record(self) -> dict[str, object]:
        try:
            document: dict[str, object] = json.loads((self.directory / "runner.json").read_text())
        except (OSError, ValueError):
            return {}
        return document

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(tmp_path / "local")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    if made.process is not None and made.process.returncode == -signal.SIGKILL:
        made.start()  # its successor finds what was left running, and can stop it
        made.end(signal.SIGTERM)


def test_a_runner_starts_is_killed_is_found_again_and_stops_with_everything_it_started(runner: Runner) -> None:
    first = runner.start()
    assert runner.env.stat().st_mode & 0o777 == 0o600
    assert httpx.get(f"{first['API_URL']}/health", timeout=30).status_code == 200

    second = runner.command("run")
    assert (second.returncode, len(second.stderr.splitlines())) == (1, 1)
    assert "another runner uses" in second.stderr

    through = runner.command("invoke", "plan_expiry", "events/plan_expiry.json")
    assert (through.returncode, json.loads(through.stdout)["plans_expired"]) == (0, 0)
    assert runner.command("invoke", "nothing", "events/plan_expiry.json").returncode == 1

    runner.end(signal.SIGKILL)
    again = runner.start()
    assert httpx.get(f"{again['API_URL']}/health", timeout=30).status_code == 200
    assert again["DATABASE_URL"].partition("@")[0] == first["DATABASE_URL"].partition("@")[0]

    assert runner.end(signal.SIGINT) == 0
    assert not runner.env.exists()
    assert not runner.record()

    alone = runner.command("invoke", "PlanExpiryFunction", "events/plan_expiry.json")
    assert (alone.returncode, json.loads(alone.stdout)["plans_expired"]) == (0, 0)


def test_what_a_killed_runner_left_is_cleaned_away(runner: Runner) -> None:
    runner.start()
    refused = runner.command("clean")
    assert (refused.returncode, runner.directory.exists()) == (1, True)
    assert "another runner uses" in refused.stderr
    data = runner.directory / "postgres" / "data"
    left = {
        int((data / "postmaster.pid").read_text().split()[0]): str(data),
        int((runner.directory / "s3" / "pid").read_text()): f"-dir={runner.directory / 's3' / 'data'}",
    }
    assert all(runs_with(pid, argument) for pid, argument in left.items())
    runner.end(signal.SIGKILL)
    runner.process = None
    cleaned = runner.command("clean")
    assert (cleaned.returncode, cleaned.stderr) == (0, "")
    assert not runner.directory.exists()
    assert not any(runs_with(pid, argument) for pid, argument in left.items())
    assert runner.command("clean").returncode == 0


def test_a_token_in_a_query_is_never_printed(runner: Runner) -> None:
    url = runner.start()["API_URL"]
    for path in ("/v1/videos/stream/1", "/nothing", "/health"):
        httpx.get(f"{url}{path}", params={"token": "a-secret-in-a-query"}, timeout=60)
    assert runner.end(signal.SIGTERM) == 0
    logs = {path.name: path.read_text() for path in (runner.directory / "log").iterdir()}
    assert "REPORT RequestId" in logs["stream.log"]
    assert not [text for text in (runner.log.read_text(), *logs.values()) if "a-secret-in-a-query" in text]


# What a shell may hold for other programs: libpq's, the AWS libraries', and a mode that is no setting of make run.
SHELL = {
    "PGSERVICE": "nope",
    "PGOPTIONS": "-c search_path=foo",
    "PGSSLMODE": "verify-full",
    "AWS_PROFILE": "missing",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_CONFIG_FILE": "/nowhere",
    "STREAM_MODE": "buffered",
}


def test_the_shells_variables_for_other_programs_are_not_seen_and_a_closed_terminal_stops_everything(
    runner: Runner,
) -> None:
    env = runner.start(**SHELL)
    assert "STREAM_MODE is no setting of make run" in runner.log.read_text()
    url = env["API_URL"]
    assert httpx.get(f"{url}/health", timeout=30).status_code == 200
    login = {"email": "admin@paid.example", "password": "demo-password"}
    token = httpx.post(f"{url}/v1/auth/login", json=login, timeout=30).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    film = httpx.get(f"{url}/v1/videos/stream/1", headers=headers, timeout=30)
    assert film.content == (ROOT / "tests" / "data" / "colours.mp4").read_bytes()
    pids = [int((runner.directory / name / "pid").read_text()) for name in ("postgres", "s3")]
    assert runner.end(signal.SIGHUP) == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_what_is_acknowledged_outlives_a_kill_of_the_postgres_server(tmp_path: Path) -> None:
    with (
        postgres.start(tmp_path / "postgres") as server,
        psycopg.connect(server.owner_url, autocommit=True) as connection,
    ):
        for name in ("synchronous_commit", "fsync", "full_page_writes"):
            assert connection.execute(f"SHOW {name}".encode()).fetchone() == ("on",)
        connection.execute("CREATE TABLE acknowledged (number int)")
        for number in range(200):
            connection.execute("INSERT INTO acknowledged VALUES (%s)", (number,))
        assert server.process is not None
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        for pid in (server.process.pid, *map(int, children)):  # the writer of the log too, before its next round
            os.kill(pid, signal.SIGKILL)
        server.process.wait()
    with postgres.start(tmp_path / "postgres") as again, psycopg.connect(again.owner_url) as connection:
        assert connection.execute("SELECT count(*) FROM acknowledged").fetchone() == (200,)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("BCRYPT_COST", "4 to 16"),
        ("STREAMS_PER_USER", "0 to 10000"),
        ("QUOTA_FREE_VIDEOS", "0 to 1000000000"),
        ("UPLOAD_SECONDS", "1 to 518400"),
    ],
)
def test_a_broken_setting_is_one_line_that_names_it_before_anything_starts(
    runner: Runner, name: str, told: str
) -> None:
    runner.environment[name] = "abc"
    refused = runner.command("run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"error: setting {name} must be {told}\n"
    assert not runner.directory.exists()


def test_a_tmp_that_cannot_be_written_is_one_line(runner: Runner) -> None:
    runner.directory.mkdir()  # under /tmp, as this project may be, but with a file system of its own
    script = """mount --bind /tmp /tmp && mount -o remount,ro,bind /tmp && mount -t tmpfs tmpfs "$LOCAL_DIR" &&
        exec "$0" -m local run"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable],
        cwd=ROOT,
        env=runner.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"a read-only /tmp wants the right to mount: {done.stderr.strip()}")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the S3 server keeps sockets in /tmp, which cannot be written: make it writable"
    ]


def test_make_does_not_pass_pythonhome_on() -> None:
    makefile = "include Makefile\nshow-home:\n\t@echo home=$$PYTHONHOME\n"
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "show-home"],
        input=makefile,
        cwd=ROOT,
        env={**os.environ, "PYTHONHOME": "/wrong"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "home=\n"
