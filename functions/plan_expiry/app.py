"""What the schedule runs: expired plans turn FREE, and what no longer matters is forgotten."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vms.domain import corporations, sessions, streams
from vms.observability import count, logger, metrics
from vms.settings import settings

settings()  # a missing setting stops the function here


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, int]:  # noqa: ARG001 - Lambda's signature
    """Turn every expired PAID corporation FREE, and purge dead sessions and leases; running twice does no harm. Answers the counts."""
    done = {
        "plans_expired": corporations.expire_plans(),
        "sessions_purged": sessions.purge(),
        "leases_purged": streams.purge(),
    }
    count("PlansExpired", done["plans_expired"])
    logger.info("plans expired", extra=done)
    return done
