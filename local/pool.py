"""The workers of a function, started on demand, kept warm, and replaced; and the invocations that wait for one.

A request that finds no idle worker waits; only after `PATIENCE` seconds of waiting is another worker started, because a warm one that is
back in a millisecond is sooner than a new one. Idle workers form a stack: the last one used is the warmest.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

from local.runtime_api import Invocation, error_json
from local.template import Function
from local.workers import Worker, describe_exit

MAX_WORKERS = 32
MAX_STARTING = 2
PATIENCE = 0.04
KEPT_WARM = 2
IDLE_SECONDS = 60.0


class Pool:
    """The workers of one function, and the invocations that wait for one."""

    def __init__(self, function: Function, environment: Mapping[str, str], out: Callable[[str], None]) -> None:
        self.function = function
        self.environment = dict(environment)
        self._out = out
        self.generation = 0
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._waiting: deque[Invocation] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._reaper: asyncio.TimerHandle | None = None
        self._stopped = False

    def out(self, line: str) -> None:
        """Print a line."""
        self._out(line)

    @property
    def starting(self) -> int:
        """How many workers have not asked for their first invocation yet."""
        return sum(not worker.initialized for worker in self._workers)

    def submit(self, invocation: Invocation) -> None:
        """Have it done by the warmest idle worker, or as soon as there is one."""
        if self._idle:
            self._idle.pop().give(invocation)
            return
        invocation.waits_since = time.monotonic()
        self._waiting.append(invocation)
        if self._timer is None or len(self._workers) < KEPT_WARM:
            self._scale(fresh=True)

    def withdraw(self, invocation: Invocation) -> None:
        """Its caller has gone; if no worker has it yet, none shall."""
        if invocation in self._waiting:
            self._waiting.remove(invocation)

    def prewarm(self) -> None:
        """Start a worker if there is none of this generation."""
        if not any(worker.generation == self.generation for worker in self._workers):
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
        for task in tuple(self._tasks):
            await asyncio.wait([task])
        for worker in tuple(self._workers):
            worker.kill()
        for _ in range(200):
            if not self._workers:
                break
            await asyncio.sleep(0.01)

    # Workers call these.

    def ready(self, worker: Worker) -> None:
        """It asks for work."""
        if worker.generation != self.generation or self._stopped:
            worker.kill()
        elif self._waiting:
            worker.give(self._waiting.popleft())
        else:
            worker.idle_since = time.monotonic()
            self._idle.append(worker)
            if len(self._workers) > KEPT_WARM and self._reaper is None:
                self._reaper = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._reap)

    def not_idle(self, worker: Worker) -> None:
        """It no longer listens for work."""
        if worker in self._idle:
            self._idle.remove(worker)

    def gone(self, worker: Worker) -> None:
        """It is dead. Those who wait are answered if nothing else can: one failed init is not tried again for the same callers."""
        self._workers.discard(worker)
        self.not_idle(worker)
        if self._stopped:
            return
        current = [other for other in self._workers if other.generation == self.generation]
        if worker.initialized or worker.generation != self.generation:
            if not current:
                self._start()  # keep one warm, also for those who wait
            return
        error_type, error = worker.init_error or (
            "Runtime.ExitError",
            error_json("Runtime.ExitError", f"Error: Runtime exited with {describe_exit(worker.exit_code or 0)}"),
        )
        self.out(f"INIT_REPORT {self.function.name} Phase: init Status: error Error Type: {error_type}")
        if not current:
            waiting, self._waiting = self._waiting, deque()
            for invocation in waiting:
                invocation.outcome = True
                invocation.caller.failed(error_type, error)

    def report(self, worker: Worker, invocation: Invocation) -> None:
        """Print the line that Lambda prints after each invocation; once."""
        if invocation.reported:
            return
        invocation.reported = True
        took = (time.perf_counter() - invocation.given_at) * 1000
        billed = int(took + (invocation.init_ms or 0)) + 1
        used = worker.used_mb()
        line = (
            f"REPORT RequestId: {invocation.request_id}\tDuration: {took:.2f} ms\tBilled Duration: {billed} ms\t"
            f"Memory Size: {self.function.memory_mb} MB\t"
        )
        if used is not None:
            line += f"Max Memory Used: {used} MB\t"
        if invocation.init_ms is not None:
            line += f"Init Duration: {invocation.init_ms:.2f} ms\t"
        if invocation.error_type is not None:
            status = "timeout" if invocation.error_type == "Sandbox.Timedout" else "error"
            line += f"Status: {status}\tError Type: {invocation.error_type}\t"
        self.out(f"{line}Function: {self.function.name}")

    def _scale(self, *, fresh: bool = False) -> None:
        """Start another worker when the oldest request has waited long enough; the first two without waiting."""
        if self._stopped or not self._waiting:
            return
        current = sum(worker.generation == self.generation for worker in self._workers)
        waited = time.monotonic() - self._waiting[0].waits_since
        at_once = current == 0 or (fresh and current < KEPT_WARM and not self.starting)
        if at_once or (waited >= PATIENCE and self.starting < MAX_STARTING and len(self._workers) < MAX_WORKERS):
            self._start()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(PATIENCE - waited, 0.01), self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._scale()

    def _start(self) -> None:
        worker = Worker(self)
        self._workers.add(worker)
        task = asyncio.get_running_loop().create_task(self._launch(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _launch(self, worker: Worker) -> None:
        try:
            await worker.start()
        except OSError as failure:
            self.out(f"cannot start a worker of {self.function.name}: {failure}")
            worker.kill()
            self.gone(worker)

    def _reap(self) -> None:
        """End the workers that have been idle for long, the coldest first, but keep some warm."""
        self._reaper = None
        now = time.monotonic()
        while len(self._workers) > KEPT_WARM and self._idle and now - self._idle[0].idle_since >= IDLE_SECONDS:
            worker = self._idle.pop(0)
            self._workers.discard(worker)
            worker.kill()
        if len(self._workers) > KEPT_WARM:
            self._reaper = asyncio.get_running_loop().call_later(IDLE_SECONDS / 4, self._reap)
