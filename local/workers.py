"""An execution environment of a function: a process of the real awslambdaric, with Lambda's variables, time-out and memory limit."""

import asyncio
import contextlib
import os
import resource
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from local.runtime_api import Invocation, RuntimeConnection, error_json
from local.template import Function

# Lambda gives an init 10 s; a busy laptop may need longer to import the same modules.
INIT_SECONDS = 60.0

# What a worker may see of the host's environment: nothing of the project's, only what a process needs to run at all.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


class Owner(Protocol):
    """The pool that a worker belongs to."""

    function: Function
    environment: dict[str, str]
    generation: int

    def out(self, line: str) -> None:
        """Print a line."""

    def ready(self, worker: "Worker") -> None:
        """It asks for work."""

    def not_idle(self, worker: "Worker") -> None:
        """It no longer listens for work."""

    def gone(self, worker: "Worker") -> None:
        """It is dead."""

    def report(self, worker: "Worker", invocation: Invocation) -> None:
        """Print the line that Lambda prints after each invocation."""


class Worker(asyncio.SubprocessProtocol):
    """One process, with a Runtime API of its own."""

    def __init__(self, pool: Owner) -> None:
        self.pool = pool
        self.generation = pool.generation
        self.invocation: Invocation | None = None
        self.initialized = False
        self.init_error: tuple[str, bytes] | None = None
        self.init_ms: float | None = None
        self.idle_since = 0.0
        self.next: RuntimeConnection | None = None
        self.exit_code: int | None = None
        self._loop = asyncio.get_running_loop()
        self._connections: set[RuntimeConnection] = set()
        self._server: asyncio.Server | None = None
        self._process: asyncio.SubprocessTransport | None = None
        self._started_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._status_fd: int | None = None
        self._gone = False

    async def start(self) -> None:
        """Listen, then start the process. Raises OSError when the system refuses either."""
        self._server = await self._loop.create_server(lambda: RuntimeConnection(self), "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        function = self.pool.function
        environment = worker_environment(function, self.pool.environment, port)
        command = (sys.executable, "-m", "awslambdaric", function.handler)
        self._started_at = time.perf_counter()
        await self._loop.subprocess_exec(
            lambda: self,
            *command,
            env=environment,
            cwd=function.directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=None,
            stderr=None,
            start_new_session=True,  # so that Ctrl-C in the terminal is the runner's alone
        )
        if not self._gone and not self.initialized:
            self._timer = self._loop.call_later(INIT_SECONDS, self.kill)

    def give(self, invocation: Invocation) -> None:
        """Let the idle process work on it."""
        connection, self.next = self.next, None
        assert connection is not None  # noqa: S101 - only idle workers are given work
        function = self.pool.function
        self.invocation = invocation
        invocation.given_at = time.perf_counter()
        invocation.arn = function.arn
        invocation.deadline_ms = int((time.time() + function.timeout) * 1000)
        invocation.init_ms, self.init_ms = self.init_ms, None
        self._timer = self._loop.call_later(function.timeout, self._timed_out)
        connection.give(invocation)

    def kill(self) -> None:
        """End the process now, as Lambda does; it holds nothing that is worth a farewell."""
        if self._server is not None:
            self._server.close()
        if self._process is not None and self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def used_mb(self) -> int | None:
        """The most memory that the process has held, in MB; None where the system does not tell."""
        if self._status_fd is None:
            return None
        try:
            status = os.pread(self._status_fd, 4096, 0)
        except OSError:
            return None
        _, found, rest = status.partition(b"VmHWM:")
        return -(-int(rest.split(None, 1)[0]) // 1024) if found else None

    # Environment, for the Runtime API's connections.

    def opened(self, connection: RuntimeConnection) -> None:
        """A connection of the process."""
        self._connections.add(connection)

    def closed(self, connection: RuntimeConnection) -> None:
        """One connection less; the last one of a dead process completes its end."""
        self._connections.discard(connection)
        if self.next is connection:
            self.next = None
            self.pool.not_idle(self)
        if self.exit_code is not None and not self._connections:
            self._end()

    def ready(self, connection: RuntimeConnection) -> None:
        """The process asks for work."""
        self._stop_timer()
        if not self.initialized:
            self.initialized = True
            self.init_ms = (time.perf_counter() - self._started_at) * 1000
        if self.invocation is not None:
            self.pool.report(self, self.invocation)
            self.invocation = None
        self.next = connection
        self.pool.ready(self)

    def init_failed(self, error_type: str, error: bytes) -> None:
        """The process will exit; remember why."""
        self.init_error = (error_type or "Runtime.Unknown", error)

    def completed(self, invocation: Invocation) -> None:
        """The result is there; until the process asks for more work it still counts as busy."""
        self.pool.report(self, invocation)

    # asyncio.SubprocessProtocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the process runs."""
        self._process = cast("asyncio.SubprocessTransport", transport)  # uvloop's own class
        if sys.platform == "linux":
            self._limit_memory(self._process.get_pid(), self.pool.function.memory_mb * 1024 * 1024)

    def process_exited(self) -> None:
        """asyncio: the process is dead. What it sent before may still have to be read: its connections end by themselves."""
        process = self._process
        self.exit_code = -1 if process is None else process.get_returncode() or 0
        if self._connections:
            self._loop.call_later(0.2, self._end)
        else:
            self._end()

    def _end(self) -> None:
        if self._gone:
            return
        self._gone = True
        self._stop_timer()
        for connection in tuple(self._connections):
            connection.transport.abort()
        if self._server is not None:
            self._server.close()
        if self._process is not None:
            self._process.close()
        invocation, self.invocation = self.invocation, None
        if invocation is not None:
            self._fail(invocation)
        if self._status_fd is not None:
            os.close(self._status_fd)
            self._status_fd = None
        self.pool.gone(self)

    def _fail(self, invocation: Invocation) -> None:
        if invocation.error_type is None:
            invocation.error_type = "Runtime.ExitError"
        reason = f"RequestId: {invocation.request_id} Error: Runtime exited with {describe_exit(self.exit_code or 0)}"
        if not invocation.outcome:
            invocation.outcome = True
            if invocation.error_type == "Runtime.ExitError":
                self.pool.out(reason)
            invocation.caller.failed(invocation.error_type, error_json(invocation.error_type, reason))
        self.pool.report(self, invocation)

    def _timed_out(self) -> None:
        invocation = self.invocation
        if invocation is None:
            return
        message = f"{invocation.request_id} Task timed out after {self.pool.function.timeout:.2f} seconds"
        self.pool.out(message)
        if not invocation.outcome:
            invocation.outcome = True
            invocation.error_type = "Sandbox.Timedout"
            invocation.caller.failed(invocation.error_type, error_json(invocation.error_type, message))
        elif not invocation.reported:
            invocation.error_type = "Sandbox.Timedout"
        self.kill()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _limit_memory(self, pid: int, size: int) -> None:
        try:
            self._status_fd = os.open(f"/proc/{pid}/status", os.O_RDONLY)
            resource.prlimit(pid, resource.RLIMIT_DATA, (size, size))
        except OSError:
            pass  # it has exited already, or the system does not let us: then it runs without a limit


def worker_environment(function: Function, settings: Mapping[str, str], port: int) -> dict[str, str]:
    """Lambda's environment variables for a process of `function`, whose own variables are `settings`."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return (
        passed_on
        | dict(settings)
        | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if function.snap_start else "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.function_name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[$LATEST]{port:032x}",
            # No AWS_EXECUTION_ENV: with it awslambdaric polls from a new thread at each call, for the sake of signals that nobody sends here.
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "POWERTOOLS_TRACE_DISABLED": "true",  # no X-Ray daemon listens here
            "LAMBDA_TASK_ROOT": str(function.directory),
            "LAMBDA_RUNTIME_DIR": str(Path(sys.prefix)),
            "_HANDLER": function.handler,
            "PYTHONPATH": os.pathsep.join(str(path) for path in (*function.python_path, *_client())),
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
        }
    )


@cache
def _client() -> tuple[Path, ...]:
    """Where a worker finds its HTTP client of the Runtime API, if awslambdaric was not built with its own (it is for Linux alone)."""
    return () if find_spec("runtime_client") else (Path(__file__).with_name("stand_in"),)


def describe_exit(code: int) -> str:
    """A process's exit code in Lambda's words."""
    return f"error: signal: {-code}" if code < 0 else f"error: exit status {code}" if code else "exit status 0"
