"""The scheduled job: turns expired plans FREE, ends expired uploads, deletes expired rows, and rolls up reports."""

from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vms.database import DatabaseFailed
from vms.domain import answers, corporations, leftovers, rollup, sessions, streams
from vms.errors import Problem
from vms.observability import count, logger, metrics
from vms.settings import settings, upload_settings

MARGIN_SECONDS = 10

settings()  # a missing setting stops the function here
upload_settings()


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(_event: Mapping[str, Any], context: LambdaContext) -> dict[str, int]:
    """Turn expired PAID corporations FREE, purge what has ended, and roll up what reports read. Idempotent.

    A part that fails keeps no other from its work; the job fails in the end, and Lambda runs it again.
    """
    parts: dict[str, Callable[[], int]] = {
        "plans_expired": corporations.expire_plans,
        "sessions_purged": sessions.purge,
        "answers_purged": answers.purge,
        "leases_purged": streams.purge,
        "activity_rolled_up": rollup.roll_up,
        # Last, and within what is left of the time: S3 may be slow.
        "uploads_expired": lambda: leftovers.expire(context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS),
    }
    done: dict[str, int] = {}
    failures: list[Exception] = []
    for name, run in parts.items():
        try:
            done[name] = run()
        except (Problem, DatabaseFailed) as failure:
            logger.exception("a part of the job failed", extra={"part": name})
            failures.append(failure)
    count("PlansExpired", done.get("plans_expired", 0))
    logger.info("plans expired", extra=done)
    if failures:
        raise failures[0]
    return done
