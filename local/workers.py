"""An execution environment: a process of the real awslambdaric with Lambda's variables, time-out and memory limit."""

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
from typing import TYPE_CHECKING

from local.invocation import Invocation
from local.runtime_api import RuntimeConnection
from local.template import Function

if TYPE_CHECKING:
    from local.pool import Pool

# Lambda gives an init 10 s; a busy laptop may need longer to import the same modules.
INIT_SECONDS = 60.0
# Seconds in which what a dead process has sent is still read.
FAREWELL_SECONDS = 0.2

# What a worker may see of the host's environment: nothing of the project's, only what a process needs to run at all.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


class Worker:
    """One process, with a Runtime API of its own."""

    def __init__(self, pool: "Pool") -> None:
        self.pool = pool
        self.generation = pool.generation
        self.invocation: Invocation | None = None
        self.initialized = False
        self.init_error: tuple[str, bytes] | None = None
        self.init_ms: float | None = None
        self.idle_since = 0.0
        self.exit_code = 0
        self._next: RuntimeConnection | None = None  # the connection that waits for an invocation
        self._connections: set[RuntimeConnection] = set()
        self._all_closed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self._started_at = time.perf_counter()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Live: from the process's start until what it has sent is read. Raises OSError if the system refuses it."""
        loop = asyncio.get_running_loop()
        function = self.pool.function
        server = await loop.create_server(lambda: RuntimeConnection(self), "127.0.0.1", 0)
        try:
            port = server.sockets[0].getsockname()[1]
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "awslambdaric", function.handler),
                env=worker_environment(function, self.pool.environment, port),
                cwd=function.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self.pool.log.fd,
                stderr=self.pool.log.fd,
                start_new_session=True,  # so that Ctrl-C in the terminal is the runner's alone
            )
            if self._killed:
                self.kill()
            if sys.platform == "linux":
                with contextlib.suppress(OSError):  # it has exited already, or the system forbids it: no limit then
                    resource.prlimit(self._process.pid, resource.RLIMIT_DATA, (function.memory_mb * 1024 * 1024,) * 2)
            if not self.initialized:
                self._timer = loop.call_later(INIT_SECONDS, self.kill)
            self.exit_code = await self._process.wait()
            if self._connections:
                self._all_closed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._all_closed.wait(), FAREWELL_SECONDS)
        finally:
            self._stop_timer()
            server.close()
            for connection in tuple(self._connections):
                connection.transport.abort()
            invocation, self.invocation = self.invocation, None
            if invocation is not None:
                self._died(invocation)

    def give(self, invocation: Invocation) -> None:
        """Let the idle process work on it."""
        connection, self._next = self._next, None
        assert connection is not None  # noqa: S101 - only idle workers are given work
        function = self.pool.function
        self.invocation = invocation
        invocation.given_at = time.perf_counter()
        invocation.init_ms, self.init_ms = self.init_ms, None
        self._timer = asyncio.get_running_loop().call_later(function.timeout, self._timed_out)
        self.pool.log.write(f"START RequestId: {invocation.request_id} Version: $LATEST")
        connection.give(invocation, function.arn, int((time.time() + function.timeout) * 1000))

    def kill(self) -> None:
        """End the process now, as Lambda does; it holds nothing that is worth a farewell."""
        self._killed = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    # Connections of the Runtime API call these.

    def opened(self, connection: RuntimeConnection) -> None:
        """A connection of the process."""
        self._connections.add(connection)

    def closed(self, connection: RuntimeConnection) -> None:
        """One connection less."""
        self._connections.discard(connection)
        if self._next is connection:
            self._next = None
            self.pool.not_idle(self)
        if not self._connections:
            self._all_closed.set()

    def ready(self, connection: RuntimeConnection) -> None:
        """The process asks for work on that connection."""
        self._stop_timer()
        if not self.initialized:
            self.initialized = True
            self.init_ms = (time.perf_counter() - self._started_at) * 1000
        self.invocation = None
        self._next = connection
        self.pool.ready(self)

    def init_failed(self, error_type: str, error: bytes) -> None:
        """The process could not initialize and will exit; remember why."""
        self.init_error = error_type, error

    def report(self, invocation: Invocation) -> None:
        """Log the lines that Lambda logs after each invocation; once."""
        if invocation.reported:
            return
        invocation.reported = True
        function = self.pool.function
        took = (time.perf_counter() - invocation.given_at) * 1000
        billed = int(took + (invocation.init_ms or 0)) + 1
        line = (
            f"END RequestId: {invocation.request_id}\n"
            f"REPORT RequestId: {invocation.request_id}\tDuration: {took:.2f} ms\tBilled Duration: {billed} ms\t"
            f"Memory Size: {function.memory_mb} MB\t"
        )
        if invocation.init_ms is not None:
            line += f"Init Duration: {invocation.init_ms:.2f} ms\t"
        if invocation.error_type is not None:
            status = "timeout" if invocation.error_type == "Sandbox.Timedout" else "error"
            line += f"Status: {status}\tError Type: {invocation.error_type}\t"
        self.pool.log.write(f"{line}Function: {function.name}")

    def _died(self, invocation: Invocation) -> None:
        reason = f"RequestId: {invocation.request_id} Error: Runtime exited with {describe_exit(self.exit_code)}"
        if not invocation.settled:
            self.pool.log.write(reason)
            invocation.fail("Runtime.ExitError", reason)
        invocation.error_type = invocation.error_type or "Runtime.ExitError"
        self.report(invocation)

    def _timed_out(self) -> None:
        if (invocation := self.invocation) is None:
            return
        message = f"{invocation.request_id} Task timed out after {self.pool.function.timeout:.2f} seconds"
        self.pool.log.write(message)
        if not invocation.settled:
            invocation.fail("Sandbox.Timedout", message)
        elif not invocation.reported:
            invocation.error_type = "Sandbox.Timedout"
        self.kill()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def worker_environment(function: Function, settings: Mapping[str, str], port: int) -> dict[str, str]:
    """Lambda's environment variables for a process of `function`, whose own variables are `settings`."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    lambdas = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.function_name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[$LATEST]{port:032x}",
        # No AWS_EXECUTION_ENV: with it awslambdaric polls from a new thread at each call, for signals.
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "POWERTOOLS_TRACE_DISABLED": "true",  # no X-Ray daemon listens here
        "LAMBDA_TASK_ROOT": str(function.directory),
        "LAMBDA_RUNTIME_DIR": str(Path(sys.prefix)),
        "_HANDLER": function.handler,
        "PYTHONPATH": os.pathsep.join(str(path) for path in (*function.python_path, *_client())),
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
    }
    return {**passed_on, **settings, **lambdas}


@cache
def _client() -> tuple[Path, ...]:
    """Where a worker finds a Runtime API client if awslambdaric has no compiled one, which it has on Linux only."""
    return () if find_spec("runtime_client") else (Path(__file__).with_name("stand_in"),)


def describe_exit(code: int) -> str:
    """A process's exit code in Lambda's words."""
    return f"error: signal: {-code}" if code < 0 else f"error: exit status {code}" if code else "exit status 0"
