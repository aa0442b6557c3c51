"""A template served: the pools of its functions, the front for clients, and Lambda's Invoke API for `python -m local invoke`."""

import asyncio
import contextlib
import gc
import hmac
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from local.exchange import ClientConnection, Exchange, Source
from local.front import Front
from local.pool import Pool
from local.runtime_api import Invocation, error_json, new_id, new_trace_id
from local.schedules import Scheduler
from local.template import Function, Template, TemplateError

_INVOKE = "/2015-03-31/functions/"


class Server:
    """Serves `template`.

    `fixed` are the settings that the runner decides, `always` what every worker gets beside the declared variables.
    """

    def __init__(
        self, template: Template, fixed: Mapping[str, str], always: Mapping[str, str], out: Callable[[str], None]
    ) -> None:
        self.template = template
        self.pools = {
            name: Pool(function, {**always, **settings_of(function, fixed, os.environ)}, out)
            for name, function in template.functions.items()
        }
        self._out = out
        self._front = Front(template, self.pools, out)
        self._scheduler = Scheduler(template.schedules, self.pools, out)
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Take clients' requests."""
        loop = asyncio.get_running_loop()
        for listening in sockets:
            self._servers.append(await loop.create_server(self._front.connection, sock=listening, backlog=1024))

    async def listen_for_invocations(self, token: str) -> int:
        """Take invocations by whoever knows the token; the port of 127.0.0.1 is returned."""
        server = await asyncio.get_running_loop().create_server(lambda: InvokeConnection(self, token), "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def begin(self, watched: Sequence[Path]) -> None:
        """Start what goes on in the background: schedules, the first workers, and the watch over the code."""
        gc.freeze()  # what has been imported stays: no collection need look at it again ...
        gc.set_threshold(20_000)  # ... nor look at each few requests' objects, which reference counting frees
        self._scheduler.start()
        self._tasks = [asyncio.ensure_future(self._prewarm()), asyncio.ensure_future(self._watch(watched))]

    async def stop(self) -> None:
        """Take nothing any more and end all workers."""
        self._scheduler.stop()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(pool.stop() for pool in self.pools.values()))

    async def invoke(self, function: str, event: bytes) -> "Outcome":
        """Run the function once and wait. Raises `TemplateError` for an unknown function."""
        pool = self.pools[self.template.function(function).name]
        outcome = Outcome()
        pool.submit(Invocation(new_id(), event, outcome, trace_id=new_trace_id()))
        await outcome.done.wait()
        return outcome

    def reload(self, changed: Iterable[Path]) -> list[str]:
        """Serve the functions whose code has changed by new workers; returns their names."""
        paths = list(changed)
        touched = [name for name, pool in self.pools.items() if any(_belongs(path, pool.function) for path in paths)]
        for name in touched:
            self.pools[name].reload()
        return touched

    async def _prewarm(self) -> None:
        for pool in self.pools.values():
            pool.prewarm()
            for _ in range(200):  # two at a time at most: the first real request must not stand behind ten starts
                if sum(other.starting for other in self.pools.values()) < 2:
                    break
                await asyncio.sleep(0.02)

    async def _watch(self, watched: Sequence[Path]) -> None:
        from watchfiles import awatch

        existing = [path for path in watched if path.exists()]
        try:
            async for changes in awatch(*existing, debounce=200, step=50, rust_timeout=1000):
                paths = [Path(path) for _, path in changes]
                if touched := self.reload(paths):
                    self._out(f"The code has changed: new workers for {', '.join(touched)}")
                if any(path.name == "template.yaml" for path in paths):
                    self._out("template.yaml has changed: restart to serve it")
        except OSError as failure:
            self._out(f"Edits are not watched ({failure}); restart to serve them")


class Outcome:
    """What an invocation came to; its caller."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.error_type: str | None = None
        self.payload = b""

    def answered(self, content_type: str, result: bytes) -> None:  # noqa: ARG002 - passed on as it is
        """It has returned."""
        self.payload = result
        self.done.set()

    def failed(self, error_type: str, error: bytes) -> None:
        """It has failed."""
        self.error_type, self.payload = error_type, error
        self.done.set()

    def started(self, content_type: str, source: Source) -> None:
        """It streams: the pieces are put together here."""

    def data(self, chunk: bytes) -> None:
        """A piece; as Lambda's Invoke API, at most 6 MB of them are shown."""
        if len(self.payload) < 6 * 1024 * 1024:
            self.payload += chunk

    def ended(self, error_type: str | None) -> None:
        """The stream's end."""
        self.error_type = error_type
        self.done.set()


class InvokeConnection(ClientConnection):
    """Lambda's Invoke API (POST /2015-03-31/functions/NAME/invocations), for this machine's user alone: it wants the runner's token."""

    most_body_bytes = 6 * 1024 * 1024

    def __init__(self, server: Server, token: str) -> None:
        super().__init__()
        self._server = server
        self._token = f"Bearer {token}".encode()
        self._task: asyncio.Task[None] | None = None

    def serve(self, exchange: Exchange) -> None:
        """Invoke, and answer with the function's result."""
        authorization = next((value for name, value in exchange.headers if name.lower() == b"authorization"), b"")
        path = exchange.target.decode("ascii", "replace")
        if not hmac.compare_digest(authorization, self._token):
            exchange.respond(403, [], b"")
        elif exchange.method != "POST" or not path.startswith(_INVOKE) or not path.endswith("/invocations"):
            exchange.respond(404, [], b"")
        else:
            name = path.removeprefix(_INVOKE).removesuffix("/invocations")
            self._task = asyncio.ensure_future(self._invoke(exchange, name))

    async def _invoke(self, exchange: Exchange, name: str) -> None:
        try:
            outcome = await self._server.invoke(name, exchange.body)
        except TemplateError as failure:
            exchange.respond(
                404, [(b"Content-Type", b"application/json")], error_json("ResourceNotFoundException", str(failure))
            )
            return
        headers = [(b"Content-Type", b"application/json")]
        if outcome.error_type is not None:
            headers.append((b"X-Amz-Function-Error", b"Unhandled"))
        exchange.respond(200, headers, outcome.payload)


def settings_of(function: Function, fixed: Mapping[str, str], host: Mapping[str, str]) -> dict[str, str]:
    """The function's declared variables: the runner's where it decides, else the host's of the same name, else the template's."""
    return {name: fixed.get(name, host.get(name, value)) for name, value in function.environment.items()}


def _belongs(path: Path, function: Function) -> bool:
    return any(path.is_relative_to(directory) for directory in (function.directory, *function.python_path))


def listening_sockets(port: int) -> list[socket.socket]:
    """Sockets bound to the port of 127.0.0.1 and, where there is one, ::1. Raises OSError if it is taken."""
    first = _bound(socket.AF_INET, "127.0.0.1", port)
    sockets = [first]
    with contextlib.suppress(OSError):
        sockets.append(_bound(socket.AF_INET6, "::1", first.getsockname()[1]))
    return sockets


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    # The protocol must be named: asyncio sets TCP_NODELAY only on sockets that say IPPROTO_TCP, and each answer would wait 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(1024)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - the descriptor carries the mode
        file.write(text)
    new.replace(path)


def read_json(path: Path) -> dict[str, object]:
    """A JSON object's file; empty if there is none or it is broken."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
