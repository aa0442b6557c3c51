"""Logs and metrics as operators read them: JSON lines with the request's ids, and CloudWatch metrics in the embedded format.

Neither ever holds a token, a password or a query string. The dashboard in template.yaml names the metrics:
Views, PointsGranted, BytesStreamed, LogInFailures, PlansExpired, Latency (ms, by route), Faults.
"""

import time
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()
metrics = Metrics()

_UNITS = {"BytesStreamed": MetricUnit.Bytes, "Latency": MetricUnit.Milliseconds}


def begin(event: Mapping[str, Any], context: Any) -> str:
    """Give every log line from here on the ids and the route of this request; returns the id by which API Gateway knows it."""
    request_id: str = event["requestContext"].get("requestId") or context.aws_request_id
    logger.append_keys(
        correlation_id=request_id, function_request_id=context.aws_request_id, route=event.get("resource")
    )
    return request_id


def count(name: str, value: float = 1) -> None:
    """Count so many of a metric; the next `emit` tells it."""
    metrics.add_metric(name, _UNITS.get(name, MetricUnit.Count), value)


def emit(event: Mapping[str, Any]) -> None:
    """One metric line of what was counted, by the request's route."""
    metrics.add_dimension("route", f"{event['httpMethod']} {event['resource']}")
    metrics.flush_metrics()


def observe(event: Mapping[str, Any], status: int, started: float) -> None:
    """End a request that began at `started` (`time.perf_counter`): its latency, and whether it is a fault, beside what it counted."""
    count("Latency", (time.perf_counter() - started) * 1000)
    if status >= 500:
        count("Faults")
    emit(event)
