"""The scheduled job: turns expired plans FREE, ends expired uploads, deletes expired rows, and rolls up reports."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vms.domain import answers, corporations, leftovers, rollup, sessions, streams
from vms.observability import count, logger, metrics
from vms.settings import settings, upload_settings

MARGIN_SECONDS = 10

settings()  # a missing setting stops the function here
upload_settings()


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(_event: Mapping[str, Any], context: LambdaContext) -> dict[str, int]:
    """Turn expired PAID corporations FREE, purge what has ended, and roll up what reports read. Idempotent."""
    done = {
        "plans_expired": corporations.expire_plans(),
        "sessions_purged": sessions.purge(),
        "answers_purged": answers.purge(),
        "leases_purged": streams.purge(),
        "activity_rolled_up": rollup.roll_up(),
        # Last, and within what is left of the time: S3 may be slow.
        "uploads_expired": leftovers.expire(context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS),
    }
    count("PlansExpired", done["plans_expired"])
    logger.info("plans expired", extra=done)
    return done
