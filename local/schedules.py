"""Fires scheduled functions, as EventBridge does.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html. Only rate() is fired: a cron() hour seldom comes while somebody
tries things out, and `python -m local invoke` fires any function now.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping

from local.exchange import Source
from local.pool import Pool
from local.runtime_api import Invocation, new_id, new_trace_id
from local.template import ACCOUNT, REGION, Schedule

_RATE = re.compile(r"rate\(\s*(\d+)\s+(minute|hour|day)s?\s*\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


def rate_seconds(expression: str) -> int | None:
    """Seconds between two firings of a rate() expression; None for any other one."""
    found = _RATE.fullmatch(expression.strip())
    return int(found[1]) * _SECONDS[found[2]] or None if found else None


def event_of(schedule: Schedule) -> dict[str, object]:
    """The event that the schedule sends: its own input, or EventBridge's standard one."""
    if schedule.event is not None:
        return dict(schedule.event)
    return {
        "version": "0",
        "id": new_id(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{schedule.name}"],
        "detail": {},
    }


class Scheduler:
    """The clocks of all schedules."""

    def __init__(self, schedules: tuple[Schedule, ...], pools: Mapping[str, Pool], out: Callable[[str], None]) -> None:
        self._schedules = schedules
        self._pools = pools
        self._out = out
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Start the clocks; say which schedules will not fire here."""
        for schedule in self._schedules:
            seconds = rate_seconds(schedule.expression)
            if seconds is None:
                self._out(
                    f"{schedule.name}: {schedule.expression} is not fired locally; "
                    f"run it with: python -m local invoke {schedule.function} EVENT_FILE"
                )
            else:
                self._arm(schedule, seconds)

    def stop(self) -> None:
        """Stop the clocks."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _arm(self, schedule: Schedule, seconds: int) -> None:
        self._timers[schedule.name] = asyncio.get_running_loop().call_later(seconds, self._fire, schedule, seconds)

    def _fire(self, schedule: Schedule, seconds: int) -> None:
        self._arm(schedule, seconds)
        payload = json.dumps(event_of(schedule)).encode()
        self._pools[schedule.function].submit(
            Invocation(new_id(), payload, Fired(schedule, self._out), trace_id=new_trace_id())
        )


class Fired:
    """The caller of a scheduled invocation: nobody waits for its result, but a failure is worth a line."""

    def __init__(self, schedule: Schedule, out: Callable[[str], None]) -> None:
        self._schedule = schedule
        self._out = out

    def answered(self, content_type: str, result: bytes) -> None:
        """It has run; its own log says what it did."""

    def failed(self, error_type: str, error: bytes) -> None:  # noqa: ARG002 - the function's log has told it
        """It has failed, and runs again at the next firing."""
        self._out(f"{self._schedule.name}: {self._schedule.function} failed: {error_type}")

    def started(self, content_type: str, source: Source) -> None:
        """A scheduled function has nobody to stream to."""

    def data(self, chunk: bytes) -> None:
        """See `started`."""

    def ended(self, error_type: str | None) -> None:
        """See `started`."""
