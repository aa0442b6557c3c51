"""Serves a template: pools of its functions, the front for clients, Lambda's Invoke API for the invoke command."""

import asyncio
import contextlib
import gc
import hmac
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from local.clients import ClientConnection
from local.exchange import Exchange
from local.front import Front, FrontConnection
from local.gateway import Router
from local.http1 import field
from local.invocation import Result, error_json
from local.output import Log, Terminal
from local.pool import Pool
from local.schedules import fire
from local.template import Function, Template, TemplateError

_INVOKE = "/2015-03-31/functions/"


class Server:
    """Serves `template`.

    `fixed` are the settings that the runner decides, `always` what every worker gets beside the declared variables.
    What the functions print goes to a file each in `logs`, and requests are shown; or, if `logs` is a file descriptor,
    it goes there as it is, and no request is shown.
    """

    def __init__(
        self,
        template: Template,
        fixed: Mapping[str, str],
        always: Mapping[str, str],
        out: Callable[[str], None],
        logs: Path | int,
    ) -> None:
        self.template = template
        self._out = out
        if isinstance(logs, Path):
            logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.pools = {
            name: Pool(
                function,
                {**always, **settings_of(function, fixed, os.environ)},
                Log(logs / f"{function.directory.name}.log" if isinstance(logs, Path) else logs),
                out,
            )
            for name, function in template.functions.items()
        }
        self._terminal = Terminal() if isinstance(logs, Path) else None
        self._front = Front(template, self.pools, Router(template.routes), out, self._terminal)
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Take clients' requests."""
        loop = asyncio.get_running_loop()
        for listening in sockets:
            self._servers.append(
                await loop.create_server(lambda: FrontConnection(self._front), sock=listening, backlog=1024)
            )

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
        schedules = [fire(schedule, self.pools[schedule.function], self._out) for schedule in self.template.schedules]
        self._tasks = [asyncio.ensure_future(work) for work in (self._prewarm(), self._watch(watched), *schedules)]

    async def stop(self) -> None:
        """Take nothing any more and end all workers."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(pool.stop() for pool in self.pools.values()))
        for pool in self.pools.values():
            pool.log.close()
        if self._terminal is not None:
            self._terminal.flush()

    async def invoke(self, function: str, event: bytes) -> Result:
        """Run the function once and wait. Raises `TemplateError` for an unknown function."""
        return await self.pools[self.template.function(function).name].run(event)

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
                touched = [pool for pool in self.pools.values() if any(pool.function.owns(path) for path in paths)]
                for pool in touched:
                    pool.reload()
                if touched:
                    names = ", ".join(pool.function.name for pool in touched)
                    self._out(f"The code has changed: new workers for {names}")
                if any(path.name == "template.yaml" for path in paths):
                    self._out("template.yaml has changed: restart to serve it")
        except OSError as failure:
            self._out(f"Edits are not watched ({failure}); restart to serve them")


class InvokeConnection(ClientConnection):
    """Lambda's Invoke API (POST /2015-03-31/functions/NAME/invocations), for callers with the runner's token."""

    most_body_bytes = 6 * 1024 * 1024

    def __init__(self, server: Server, token: str) -> None:
        super().__init__()
        self._server = server
        self._token = f"Bearer {token}".encode()

    async def serve(self, exchange: Exchange) -> None:
        """Invoke, and answer with the function's result."""
        request = exchange.request
        path = request.target.decode("ascii", "replace")
        headers = [(b"Content-Type", b"application/json")]
        if exchange.refusal:
            exchange.respond(exchange.refusal, [], b"")
        elif not hmac.compare_digest(field(request.headers, b"authorization") or b"", self._token):
            exchange.respond(403, [], b"")
        elif request.method != "POST" or not path.startswith(_INVOKE) or not path.endswith("/invocations"):
            exchange.respond(404, [], b"")
        else:
            try:
                name = path.removeprefix(_INVOKE).removesuffix("/invocations")
                result = await self._server.invoke(name, request.body)
            except TemplateError as failure:
                exchange.respond(404, headers, error_json("ResourceNotFoundException", str(failure)))
                return
            if result.error_type is not None:
                headers.append((b"X-Amz-Function-Error", b"Unhandled"))
            exchange.respond(200, headers, result.payload)


def settings_of(function: Function, fixed: Mapping[str, str], host: Mapping[str, str]) -> dict[str, str]:
    """The function's declared variables: the runner's own values, else the host's of that name, else the template's."""
    return {name: fixed.get(name, host.get(name, value)) for name, value in function.environment.items()}


def listening_sockets(port: int) -> list[socket.socket]:
    """Sockets bound to the port of 127.0.0.1 and, where there is one, ::1. Raises OSError if it is taken."""
    made = [socket.create_server(("127.0.0.1", port), backlog=1024)]
    with contextlib.suppress(OSError):
        made.append(socket.create_server(("::1", made[0].getsockname()[1]), family=socket.AF_INET6, backlog=1024))
    for each in made if sys.platform == "linux" else ():  # a socket takes up to 4 MB, and that a client reads must show
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 128 * 1024)
    # asyncio sets TCP_NODELAY only on sockets that say IPPROTO_TCP; without it each answer would wait 40 ms.
    return [socket.socket(each.family, each.type, socket.IPPROTO_TCP, each.detach()) for each in made]
