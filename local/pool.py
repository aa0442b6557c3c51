"""The workers of a function, started on demand, kept warm, and replaced; and the invocations that wait for one.

A request that finds no idle worker waits; only after `PATIENCE` seconds of waiting is another worker started, because a
warm one that is back in a millisecond is sooner than a new one. Idle workers form a stack: the last one used is the
warmest.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

from local.invocation import Invocation, Result, Stream, error_json, new_id, new_trace_id
from local.output import Log
from local.template import Function
from local.workers import Worker, describe_exit

MAX_WORKERS = 32
MAX_STARTING = 2
PATIENCE = 0.04
KEPT_WARM = 2
IDLE_SECONDS = 60.0
MAX_SHOWN_BYTES = 6 * 1024 * 1024


class Pool:
    """The workers of one function, and the invocations that wait for one."""

    def __init__(
        self, function: Function, environment: Mapping[str, str], log: Log, out: Callable[[str], None]
    ) -> None:
        self.function = function
        self.environment = dict(environment)
        self.log = log
        self.generation = 0
        self._out = out
        self._idle: list[Worker] = []
        self._workers: dict[Worker, asyncio.Task[None]] = {}
        self._waiting: deque[Invocation] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._reaper: asyncio.TimerHandle | None = None
        self._stopped = False

    async def invoke(self, invocation: Invocation) -> Result | Stream:
        """Have an idle worker do it, or the next one that is; none if the caller goes before."""
        if self._idle:
            self._idle.pop().give(invocation)
        else:
            invocation.waits_since = time.monotonic()
            self._waiting.append(invocation)
            if self._timer is None or len(self._workers) < KEPT_WARM:
                self._scale(fresh=True)
        try:
            return await invocation.result
        except asyncio.CancelledError:
            if invocation in self._waiting:
                self._waiting.remove(invocation)
            invocation.abandon()
            raise

    async def run(self, event: bytes) -> Result:
        """Invoke the function with this event; a streamed result is joined, up to the limit of Lambda's Invoke API."""
        match await self.invoke(Invocation(new_id(), event, new_trace_id())):
            case Stream() as stream:
                return await stream.read(MAX_SHOWN_BYTES)
            case result:
                return result

    @property
    def starting(self) -> int:
        """How many workers have not asked for their first invocation yet."""
        return sum(not worker.initialized for worker in self._workers)

    def prewarm(self) -> None:
        """Start a worker if there is none of this generation."""
        if not self._current():
            self._start()

    def reload(self) -> None:
        """The code has changed: whatever comes from now on is served by new processes; busy ones finish first."""
        self.generation += 1
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()
        if self._workers:
            self._start()

    async def stop(self) -> None:
        """End all processes."""
        self._stopped = True
        for timer in (self._timer, self._reaper):
            if timer is not None:
                timer.cancel()
        for worker in self._workers:
            worker.kill()
        if self._workers:
            await asyncio.wait(self._workers.values(), timeout=5)

    # Workers call these.

    def ready(self, worker: Worker) -> None:
        """It asks for work."""
        if worker.generation != self.generation or self._stopped:
            worker.kill()
        elif self._waiting:
            invocation = self._waiting.popleft()
            invocation.cold = worker.init_ms is not None
            worker.give(invocation)
        else:
            worker.idle_since = time.monotonic()
            self._idle.append(worker)
            if len(self._workers) > KEPT_WARM and self._reaper is None:
                self._reaper = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._reap)

    def not_idle(self, worker: Worker) -> None:
        """It no longer listens for work."""
        if worker in self._idle:
            self._idle.remove(worker)

    def _start(self) -> None:
        worker = Worker(self)
        self._workers[worker] = asyncio.get_running_loop().create_task(self._live(worker))

    async def _live(self, worker: Worker) -> None:
        try:
            await worker.run()
        except OSError as failure:
            self._out(f"cannot start a worker of {self.function.name}: {failure}")
        finally:
            self._gone(worker)

    def _gone(self, worker: Worker) -> None:
        """Keep one warm. A failed init is the answer for all who wait, unless another worker has come up.

        Those that are still starting do not count: under load there is always one, and the callers would wait for ever.
        """
        del self._workers[worker]
        self.not_idle(worker)
        if self._stopped:
            return
        if worker.initialized or worker.generation != self.generation:
            if not self._current():
                self._start()
            return
        error_type, error = worker.init_error or (
            "Runtime.ExitError",
            error_json("Runtime.ExitError", f"Error: Runtime exited with {describe_exit(worker.exit_code)}"),
        )
        self.log.write(f"INIT_REPORT {self.function.name} Phase: init Status: error Error Type: {error_type}")
        if not any(other.initialized and other.generation == self.generation for other in self._workers):
            waiting, self._waiting = self._waiting, deque()
            for invocation in waiting:
                invocation.settle(Result(error, error_type))

    def _current(self) -> int:
        return sum(worker.generation == self.generation for worker in self._workers)

    def _scale(self, *, fresh: bool = False) -> None:
        """Start another worker when the oldest request has waited long enough; the first two without waiting."""
        if self._stopped or not self._waiting:
            return
        current = self._current()
        waited = time.monotonic() - self._waiting[0].waits_since
        at_once = current == 0 or (fresh and current < KEPT_WARM and not self.starting)
        if at_once or (waited >= PATIENCE and self.starting < MAX_STARTING and len(self._workers) < MAX_WORKERS):
            self._start()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(PATIENCE - waited, 0.01), self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._scale()

    def _reap(self) -> None:
        """End the workers that have been idle for long, the coldest first, but keep some warm."""
        now = time.monotonic()
        spare = len(self._workers) - KEPT_WARM
        cold = [worker for worker in self._idle[: max(spare, 0)] if now - worker.idle_since >= IDLE_SECONDS]
        for worker in cold:
            self._idle.remove(worker)
            worker.kill()
        more = spare > len(cold)
        self._reaper = asyncio.get_running_loop().call_later(IDLE_SECONDS / 4, self._reap) if more else None
