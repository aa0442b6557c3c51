"""Everything that `python -m local` starts: PostgreSQL, S3, the keys, the schema, the demo data, and the server over them."""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.server import Outcome, Server, listening_sockets, write_private
from local.template import Template, load

ROOT = Path(__file__).resolve().parent.parent


class RunnerError(Exception):
    """The runner cannot start; the message is one line that says why and what helps."""


def out(line: str) -> None:
    """Print a line at once: the workers write to the same output."""
    with contextlib.suppress(OSError):  # nobody reads it any more: no reason to fail a request
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Be the only runner in `directory`; the lock dies with the process, however it dies. Raises `RunnerError`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (directory / "lock").open("a+")
    except OSError as failure:
        raise RunnerError(
            f"cannot use {directory}: {failure.strerror}. Set LOCAL_DIR to a directory of yours."
        ) from failure
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise RunnerError(
                f"another runner uses {directory} (process {file.read().strip() or '?'}): stop it, or set LOCAL_DIR."
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


@dataclass
class Services:
    """What the functions need around them."""

    directory: Path
    postgres: Any = None
    s3: Any = None
    template: Template | None = None
    jwt_keys: Path = field(default_factory=Path)

    async def start(self) -> None:
        """Start or read everything at once; then bring the schema up to date. Raises `RunnerError`."""
        from local import postgres, s3

        async def start_postgres() -> None:
            self.postgres = await asyncio.to_thread(postgres.start, self.directory / "postgres")

        async def start_s3() -> None:
            self.s3 = await asyncio.to_thread(s3.start, self.directory / "s3")

        async def read_template() -> None:
            self.template = await asyncio.to_thread(load, ROOT / "template.yaml", self.directory)

        self.jwt_keys = make_keys(self.directory / "jwt-keys.json")
        results = await asyncio.gather(start_postgres(), start_s3(), read_template(), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise RunnerError(str(result) or type(result).__name__) from result
        try:
            await asyncio.to_thread(self._migrate)
        except Exception as failure:  # whatever the driver raises, the runner cannot go on
            raise RunnerError(f"the schema could not be brought up to date: {failure}") from failure

    def _migrate(self) -> None:
        from vms import migrations

        for name in migrations.apply(self.postgres.url, ROOT / "sql" / "migrations"):
            out(f"Applied {name}")

    async def stop(self) -> None:
        """Stop both servers at once."""
        running = [service for service in (self.postgres, self.s3) if service is not None]
        results = await asyncio.gather(
            *(asyncio.to_thread(service.stop) for service in running), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                out(f"while stopping: {result}")

    def server(self) -> Server:
        """The template's server, with these services for its functions."""
        assert self.template is not None  # noqa: S101 - start has read it
        fixed = {
            "DATABASE_URL": self.postgres.url,
            "DATABASE_IAM_AUTH": "false",
            "JWT_KEYS": str(self.jwt_keys),
            "VIDEO_BUCKET": self.s3.bucket,
            "AWS_ENDPOINT_URL_S3": self.s3.endpoint,
            "MIGRATIONS_DIR": str(ROOT / "sql" / "migrations"),
            "STREAM_MAX_BYTES": "0",
        }
        return Server(self.template, fixed, self.aws(), out)

    def aws(self) -> dict[str, str]:
        """The local S3's region and credentials, by the names of AWS."""
        return {
            "AWS_REGION": self.s3.region,
            "AWS_DEFAULT_REGION": self.s3.region,
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
        }

    def client_environment(self, url: str) -> str:
        """LOCAL_DIR/env: what any client needs to join in."""
        values = {
            "API_URL": url,
            "DATABASE_URL": self.postgres.url,
            "AWS_ENDPOINT_URL_S3": self.s3.endpoint,
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "AWS_REGION": self.s3.region,
            "VIDEO_BUCKET": self.s3.bucket,
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())


def make_keys(path: Path) -> Path:
    """The file of the keys that sign tokens, made once."""
    if not path.exists():
        kid = secrets.token_hex(4)
        write_private(path, json.dumps({"current": kid, kid: secrets.token_urlsafe(48)}))
    return path.resolve()


async def until_stopped(work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `work` with an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await work(stop)


async def serve(directory: Path, sockets: list[socket.socket], stop: asyncio.Event) -> int:
    """Serve until `stop`; the exit code is returned. Raises `RunnerError`."""
    services = Services(directory)
    server: Server | None = None
    env, record = directory / "env", directory / "runner.json"
    for stale in (env, record):
        stale.unlink(missing_ok=True)
    try:
        starting = asyncio.ensure_future(services.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await starting  # a thread cannot be called back: what is being started is awaited, and then stopped
        if stop.is_set():
            return 0
        logins = await asyncio.to_thread(_load_demo, services)
        server = services.server()
        await server.listen(sockets)
        token = secrets.token_urlsafe(24)
        port = await server.listen_for_invocations(token)
        write_private(record, json.dumps({"pid": os.getpid(), "port": port, "token": token}))
        url = f"http://localhost:{sockets[0].getsockname()[1]}"
        write_private(env, services.client_environment(url))
        out(
            "\n".join(
                (
                    "",
                    f"  API   {url}",
                    f"  Docs  {url}/docs",
                    *logins,
                    "",
                    "Ctrl-C stops everything; the data stays.",
                    "",
                )
            )
        )
        server.begin((ROOT / "functions", ROOT / "layers", ROOT / "template.yaml"))
        await stop.wait()
        out("Stopping")
    finally:
        for path in (env, record):
            path.unlink(missing_ok=True)
        try:
            if server is not None:
                await server.stop()
        finally:
            await services.stop()
    return 0


def _load_demo(services: Services) -> list[str]:
    from local import demo

    logins = demo.load(services.postgres.url, services.s3)
    width = max((len(login.email) for login in logins), default=0)
    lines = [
        f"{login.email:{width}}  {login.password}  {login.role} of {login.corporation}, {login.plan}"
        for login in logins
    ]
    return ["  Demo", *(f"        {line}" for line in lines)]


async def invoke_once(directory: Path, function: str, event: bytes) -> Outcome:
    """Start what one invocation needs, invoke, stop. Raises `RunnerError`, `TemplateError`."""
    services = Services(directory)
    server: Server | None = None
    try:
        await services.start()
        server = services.server()
        return await server.invoke(function, event)
    finally:
        if server is not None:
            await server.stop()
        await services.stop()


def bind(port: int) -> list[socket.socket]:
    """The front's sockets. Raises `RunnerError` if the port is taken."""
    try:
        return listening_sockets(port)
    except OSError as failure:
        raise RunnerError(
            f"port {port} cannot be used ({failure.strerror}): stop what listens there, or set PORT."
        ) from failure
