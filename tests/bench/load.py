"""The client that puts load on a server, a process of its own: `python -m tests.bench.load`.

It reads one JSON plan a line from its standard input and answers with one JSON result a line: a closed loop over
keep-alive connections, each of which sends its next request when the last answer is whole. Answers are counted, not
kept, so that the client stays cheap: it shares the cores with what it measures.
"""

import asyncio
import gc
import json
import sys
import time
from typing import Any, cast

import uvloop

_BUFFER = memoryview(bytearray(1024 * 1024))  # all connections read into it: bytes are looked at before the next read


class Run:
    """One plan being carried out.

    Its members: `host`, `port`, `requests` (texts, each a whole HTTP request), `connections`, `seconds`; `once` (no
    request is sent twice: the run ends when they are used up) and `cut` (at the end of the time what is under way
    is dropped; else it is waited for).
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.requests: list[bytes] = [request.encode("latin-1") for request in plan["requests"]]
        self.sent = 0
        self.bytes = 0
        self.latencies: list[float] = []
        self.first: list[float] = []
        self.statuses: dict[int, int] = {}
        self.broken = 0
        self.stopped = False
        self.deadline = 0.0
        self.ended = 0.0
        self.active = 0
        self.over = asyncio.Event()

    async def carry_out(self) -> dict[str, Any]:
        """Connect, send, and count; the result is JSON."""
        loop = asyncio.get_running_loop()
        connections = [
            (await loop.create_connection(lambda: Connection(self), self.plan["host"], self.plan["port"]))[1]
            for _ in range(self.plan["connections"])
        ]
        gc.collect()
        gc.disable()
        started = self.ended = time.perf_counter()
        self.deadline = started + self.plan["seconds"]
        self.active = len(connections)
        for connection in connections:
            connection.next()
        timer = loop.call_later(self.plan["seconds"], self._time_is_up) if self.plan["cut"] else None
        await self.over.wait()
        if timer is not None:
            timer.cancel()
        self.stopped = True
        gc.enable()
        for connection in connections:
            connection.transport.abort()
        return {
            "seconds": self.ended - started,
            "done": len(self.latencies),
            "bytes": self.bytes,
            "latencies": self.latencies,
            "first": self.first,
            "statuses": self.statuses,
            "broken": self.broken,
        }

    def next_request(self) -> bytes | None:
        """What to send now; None when the time or the requests are over."""
        if self.stopped or time.perf_counter() >= self.deadline:
            return None
        if self.plan["once"] and self.sent >= len(self.requests):
            return None
        request = self.requests[self.sent % len(self.requests)]
        self.sent += 1
        return request

    def finished(self) -> None:
        """A connection has nothing to do any more."""
        self.active -= 1
        if self.active == 0:
            self.over.set()

    def _time_is_up(self) -> None:
        self.ended = time.perf_counter()
        self.stopped = True
        self.over.set()


class Connection(asyncio.BufferedProtocol):
    """One keep-alive connection."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.transport: asyncio.Transport
        self._head = b""
        self._left = -1  # bytes of the body still to come; -1: the head is not there yet
        self._sent_at = 0.0
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def next(self) -> None:
        """Send the next request, if there is one."""
        request = self.run.next_request()
        if request is None:
            self.run.finished()
            return
        self._head, self._left, self._begun = b"", -1, False
        self._sent_at = time.perf_counter()
        self.transport.write(request)

    def buffer_updated(self, nbytes: int) -> None:
        if self.run.stopped:
            return
        if self._left < 0:
            nbytes = self._read_head(bytes(_BUFFER[:nbytes]))
            if self._left < 0:
                return
        if nbytes:
            if not self._begun:
                self._begun = True
                self.run.first.append((time.perf_counter() - self._sent_at) * 1000)
            self.run.bytes += nbytes
            self._left -= nbytes
        if self._left <= 0:
            now = self.run.ended = time.perf_counter()
            self.run.latencies.append((now - self._sent_at) * 1000)
            self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.run.stopped:
            self.run.broken += 1
            self.run.finished()

    def _read_head(self, data: bytes) -> int:
        """Take in the head; returns how many bytes of the body came along."""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return 0
        head = self._head[:end].lower()
        status = int(head[9:12])
        self.run.statuses[status] = self.run.statuses.get(status, 0) + 1
        _, found, rest = head.partition(b"\r\ncontent-length:")
        self._left = int(rest.partition(b"\r\n")[0]) if found else 0
        return len(self._head) - end - 4


def main() -> None:
    """Serve plans until the input ends."""
    for line in sys.stdin:
        result = uvloop.run(Run(json.loads(line)).carry_out())
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
