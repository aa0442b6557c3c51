"""Fires scheduled functions, as EventBridge does.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html. Only rate() is fired: a cron() hour seldom
comes while somebody tries things out, and `python -m local invoke` fires any function now.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable

from local.invocation import new_id
from local.pool import Pool
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


async def fire(schedule: Schedule, pool: Pool, out: Callable[[str], None]) -> None:
    """Invoke the function at the schedule's rate, for ever; only a failure is worth a line."""
    seconds = rate_seconds(schedule.expression)
    if seconds is None:
        command = f"python -m local invoke {schedule.function} EVENT_FILE"
        out(f"{schedule.name}: {schedule.expression} is not fired locally; run it with: {command}")
        return
    while True:
        await asyncio.sleep(seconds)
        result = await pool.run(json.dumps(event_of(schedule)).encode())
        if result.error_type is not None:
            out(f"{schedule.name}: {schedule.function} failed: {result.error_type}")
