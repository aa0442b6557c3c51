"""What `python -m local` starts: PostgreSQL, S3, the keys, the schema, the demo data and the server."""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local.files import write_private
from local.invocation import Result
from local.output import say
from local.sam import load
from local.server import Server, listening_sockets
from local.template import Template

if TYPE_CHECKING:  # their libraries take long to import, and are imported beside the start of the servers
    from local.postgres import Postgres
    from local.s3 import S3

ROOT = Path(__file__).resolve().parent.parent
MIGRATIONS = ROOT / "sql" / "migrations"
LOCAL_ORIGINS = "http://localhost:*,http://127.0.0.1:*"


class RunnerError(Exception):
    """The runner cannot start; the message is one line that says why and what helps."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Be the only runner in `directory`; the lock dies with the process, however it dies. Raises `RunnerError`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (directory / "lock").open("a+")
    except OSError as failure:
        message = f"cannot use {directory}: {failure.strerror}. Set LOCAL_DIR to a directory of yours."
        raise RunnerError(message) from failure
    with file:
        file.seek(0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = file.read().strip() or "?"
            message = f"another runner uses {directory} (process {other}): stop it, or set LOCAL_DIR."
            raise RunnerError(message) from None
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


@dataclass
class Services:
    """What the functions need around them."""

    directory: Path
    postgres: "Postgres" = field(init=False)
    s3: "S3" = field(init=False)
    template: Template = field(init=False)
    jwt_keys: Path = field(init=False)

    async def start(self) -> None:
        """Start or read everything at once; then bring the schema up to date. Raises `RunnerError`."""
        works = self._start_postgres, self._start_s3, self._read_template
        doing = ""
        try:
            self.jwt_keys = make_keys(self.directory / "jwt-keys.json")
            # A thread cannot be called back: all are awaited, so that what has started can be stopped.
            for result in await asyncio.gather(*map(asyncio.to_thread, works), return_exceptions=True):
                if result is not None:
                    raise result
            doing = "the schema could not be brought up to date: "
            await asyncio.to_thread(self._migrate)
        except Exception as failure:  # whatever they raise, the runner cannot go on
            raise RunnerError(doing + (" ".join(str(failure).split()) or type(failure).__name__)) from failure

    async def stop(self) -> None:
        """Stop both servers at once, as far as they have started."""
        running = [getattr(self, name) for name in ("postgres", "s3") if hasattr(self, name)]
        results = await asyncio.gather(*(asyncio.to_thread(each.stop) for each in running), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                say(f"while stopping: {result}")

    def server(self, out: Callable[[str], None], logs: Path | int) -> Server:
        """The template's server, with these services for its functions."""
        fixed = {
            **self.environment(),
            "DATABASE_IAM_AUTH": "false",
            "JWT_KEYS": str(self.jwt_keys),
            "MIGRATIONS_DIR": str(MIGRATIONS),
            "PLAN_CHANGES": os.environ.get("PLAN_CHANGES") or "self",
            "STREAM_MAX_BYTES": "0",
            "STREAM_MODE": "stream",  # as the template's routes
        }
        return Server(self.template, fixed, self.aws(), out, logs)

    def environment(self) -> dict[str, str]:
        """What any client of the database and of S3 needs."""
        database = {"DATABASE_URL": self.postgres.url, "DATABASE_OWNER_URL": self.postgres.owner_url}
        return database | {"AWS_ENDPOINT_URL_S3": self.s3.endpoint, "VIDEO_BUCKET": self.s3.bucket} | self.aws()

    def aws(self) -> dict[str, str]:
        """The local S3's region and credentials, by the names of AWS."""
        keys = {"AWS_ACCESS_KEY_ID": self.s3.access_key, "AWS_SECRET_ACCESS_KEY": self.s3.secret_key}
        return {"AWS_REGION": self.s3.region, "AWS_DEFAULT_REGION": self.s3.region, **keys}

    def _start_postgres(self) -> None:
        from local import postgres

        self.postgres = postgres.start(self.directory / "postgres")

    def _start_s3(self) -> None:
        from local import s3

        self.s3 = s3.start(self.directory / "s3")

    def _read_template(self) -> None:
        origins = os.environ.get("CORS_ORIGINS", LOCAL_ORIGINS)
        self.template = load(ROOT / "template.yaml", self.directory, CorsOrigins=origins)

    def _migrate(self) -> None:
        from vms import migrations

        for name in migrations.apply(self.postgres.owner_url, MIGRATIONS, app=migrations.Login.of(self.postgres.url)):
            say(f"Applied {name}")


def make_keys(path: Path) -> Path:
    """The file of the keys that sign tokens, made once."""
    if not path.exists():
        kid = secrets.token_hex(4)
        write_private(path, json.dumps({"current": kid, kid: secrets.token_urlsafe(48)}))
    return path.resolve()


def check_settings(host: Mapping[str, str]) -> None:
    """Refuse a broken setting before anything starts. Raises `RunnerError`."""
    from vms import settings, variables

    ours = {"DATABASE_URL": "postgresql://vms@local/vms", "JWT_KEYS": "-", "VIDEO_BUCKET": "-", "STREAM_MODE": "stream"}
    try:
        for read in (settings.read, settings.read_stream, settings.read_quota, settings.read_uploads):
            read({**host, **ours})
    except variables.SettingError as failure:
        raise RunnerError(str(failure)) from failure
    if host.get("STREAM_MODE", "stream") != "stream":
        say("STREAM_MODE is no setting of make run, which streams: it is not looked at.")


async def until_stopped(work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `work` with an event that SIGINT, SIGTERM and SIGHUP (the terminal is closed) set; not SIGHUP under nohup."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    return await work(stop)


async def serve(directory: Path, sockets: list[socket.socket], stop: asyncio.Event, *, raw: bool) -> int:
    """Serve until `stop`; returns the exit code. `raw` prints what functions print, alone. Raises `RunnerError`."""
    services = Services(directory)
    env, record = directory / "env", directory / "runner.json"
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(services.stop)
        for path in (env, record):
            path.unlink(missing_ok=True)
            stack.callback(path.unlink, missing_ok=True)
        starting = asyncio.ensure_future(services.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await starting
        if stop.is_set():
            return 0
        from local import demo  # now: what it imports is what the servers' clients have imported meanwhile

        logins = await asyncio.to_thread(demo.load, services.postgres.owner_url, services.s3)
        server = services.server(say, 1 if raw else directory / "log")
        stack.push_async_callback(server.stop)
        await server.listen(sockets)
        token = secrets.token_urlsafe(24)
        port = await server.listen_for_invocations(token)
        write_private(record, json.dumps({"pid": os.getpid(), "port": port, "token": token}))
        url = f"http://localhost:{sockets[0].getsockname()[1]}"
        joining = {"API_URL": url, **services.environment()}
        write_private(env, "".join(f"{name}={value}\n" for name, value in joining.items()))
        say(f"\n  Open  {url}/console\n  API   {url}\n  Docs  {url}/docs\n  Demo  " + "\n        ".join(logins))
        say("" if raw else f"  Logs  {directory / 'log'}; LOG=raw prints them here instead")
        say("\nCtrl-C stops everything; the data stays.\n")
        server.begin((ROOT / "functions", ROOT / "layers", ROOT / "template.yaml"))
        await stopping
        say("Stopping")
    return 0


async def invoke_once(directory: Path, function: str, event: bytes) -> Result:
    """Run one invocation with all that it needs; logs go to stderr. Raises `RunnerError`, `TemplateError`."""
    services = Services(directory)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(services.stop)
        await services.start()
        server = services.server(lambda _: None, 2)
        stack.push_async_callback(server.stop)
        return await server.invoke(function, event)


def bind(port: int) -> list[socket.socket]:
    """The front's sockets. Raises `RunnerError` if the port is taken."""
    try:
        return listening_sockets(port)
    except OSError as failure:
        message = f"port {port} cannot be used ({failure.strerror}): stop what listens there, or set PORT."
        raise RunnerError(message) from failure
