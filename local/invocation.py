"""An invocation and what comes of it: a result, or a stream whose bytes pass by callback."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field


def new_id() -> str:
    """A random UUID (RFC 9562 version 4), in a tenth of uuid.uuid4's time."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def new_trace_id() -> str:
    """An X-Ray trace header of a request that is not sampled."""
    return f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()};Sampled=0"


def error_json(error_type: str, message: str) -> bytes:
    """Lambda's error document."""
    return json.dumps({"errorMessage": message, "errorType": error_type}).encode()


@dataclass(slots=True)
class Result:
    """A buffered result. With an `error_type` the function has failed, and `payload` is Lambda's error document."""

    payload: bytes
    error_type: str | None = None


class Stream:
    """A streamed result.

    Its bytes go, as they come, to the function that `relay` was given; before that they are kept. Whoever takes it
    calls `acknowledge` when the client has all bytes, or `cancel` when it wants no more.
    """

    def __init__(self, content_type: str, transport: asyncio.Transport, accept: Callable[[], None]) -> None:
        self.content_type = content_type
        self.transport = transport  # the worker's connection
        self.ended = False  # whether all bytes have come, or it broke off
        self.settled = False  # whether it is acknowledged, cancelled, or broke off: the worker may go on
        self.error_type: str | None = None  # by what it broke off
        self._accept = accept
        self._kept = bytearray()
        self._write: Callable[[bytes], None] | None = None
        self._waiting: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """Bytes have come from the worker."""
        if self._write is not None:
            self._write(data)
        else:
            self._kept += data
            self._wake()

    def end(self, error_type: str | None) -> None:
        """It is whole, or broke off."""
        self.ended, self.error_type = True, error_type
        self._wake()

    def acknowledge(self) -> None:
        """The client has all bytes: the worker's call is answered."""
        if not self.settled:
            self.settled = True
            self._accept()

    def cancel(self) -> None:
        """Nobody wants the rest: the worker's connection is reset."""
        if not self.settled:
            self.settled = True
            self.transport.abort()

    async def prelude(self, delimiter: bytes, most: int) -> bytes | None:
        """What comes before the delimiter; None if that does not come within `most` bytes."""
        while (end := self._kept.find(delimiter, 0, most + len(delimiter))) < 0:
            if self.ended or len(self._kept) > most:
                return None
            await self._change()
        found = bytes(self._kept[:end])
        del self._kept[: end + len(delimiter)]
        return found

    async def relay(self, write: Callable[[bytes], None]) -> str | None:
        """Have all bytes written; returns at the end, with the error type if it broke off."""
        self._write = write
        write(bytes(self._kept))
        while not self.ended:
            await self._change()
        return self.error_type

    async def read(self, most: int) -> Result:
        """All of it, the first `most` bytes."""
        pieces = bytearray()
        error_type = await self.relay(lambda data: pieces.extend(data[: most - len(pieces)]))
        self.acknowledge()
        return Result(bytes(pieces), error_type)

    async def _change(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _future() -> "asyncio.Future[Result | Stream]":
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Invocation:
    """One event for one function."""

    request_id: str
    event: bytes
    trace_id: str
    result: "asyncio.Future[Result | Stream]" = field(default_factory=_future)
    settled: bool = False  # whether the result is known; its caller may have gone before
    waits_since: float = 0.0
    given_at: float = 0.0
    init_ms: float | None = None
    cold: bool = False  # whether it waited for the start of its worker
    error_type: str | None = None
    reported: bool = False

    def settle(self, result: Result | Stream) -> None:
        """Tell the caller; a stream that nobody waits for any more is cancelled."""
        self.settled = True
        if not self.result.done():
            self.result.set_result(result)
        elif isinstance(result, Stream):
            result.cancel()

    def fail(self, error_type: str, message: str) -> None:
        """Settle it with an error of the runner's words."""
        self.error_type = error_type
        self.settle(Result(error_json(error_type, message), error_type))

    def abandon(self) -> None:
        """Its caller goes."""
        if self.result.done() and not self.result.cancelled() and isinstance(stream := self.result.result(), Stream):
            stream.cancel()
