"""A function whose answers the events describe; tests/integration/test_streaming.py runs it in real runtimes."""

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from vms import responses, streaming
from vms.errors import Conflict, RangeNotSatisfiable
from vms.responses import Streamed

if streaming.running_in_lambda():
    streaming.install(stall_seconds=2.0)

BLOCK = bytes(range(256)) * 1024


class Source:
    """Makes the chunks that an event asks for, and leaves a file `closed` behind when it is let go."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.event = event
        self.chunks = self._make()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.chunks)

    def close(self) -> None:
        self.chunks.close()
        if "closed" in self.event:
            Path(self.event["closed"]).touch()

    def _make(self) -> Generator[bytes]:
        for chunk in self.event.get("chunks", ()):
            yield chunk.encode()
            if "gate" in self.event:
                while not Path(self.event["gate"]).exists():
                    time.sleep(0.002)
        for _ in range(self.event.get("blocks", 0)):
            time.sleep(self.event.get("pause", 0))
            yield BLOCK
        if "fails" in self.event:
            raise ValueError(self.event["fails"])


def handler(event: dict[str, Any], context: Any) -> object:
    """Answer as the event says."""
    match event:
        case {"plain": value}:
            return value
        case {"problem": "HEAD"}:
            return responses.problem(RangeNotSatisfiable(5), context.aws_request_id, body=False)
        case {"problem": "GET"}:
            return responses.problem(Conflict("taken"), context.aws_request_id)
    headers = [(name, value) for name, value in event.get("headers", ())]
    seconds = event.get("seconds", context.get_remaining_time_in_millis() / 1000)
    return Streamed(event.get("status", 200), headers, Source(event), seconds=seconds)
