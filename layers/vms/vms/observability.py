"""Logs and metrics: JSON lines with the request's ids, and CloudWatch metrics in the embedded format.

Neither ever holds a token, a password or a query string. The dashboard in ops/monitoring.yaml names the metrics:
Views, PointsGranted, Completions, BytesStreamed, UploadsBegun, UploadsCompleted, UploadsRefused, UploadedBytes,
LogInFailures, PlansExpired, Latency (ms, by route), Faults.
"""

import time
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()
metrics = Metrics()

# What each line of metrics says beside them, so that every request of a user is found, and not the refused ones alone.
_request: dict[str, object] = {}

_UNITS = {"BytesStreamed": MetricUnit.Bytes, "UploadedBytes": MetricUnit.Bytes, "Latency": MetricUnit.Milliseconds}


def begin(event: Mapping[str, Any], context: Any) -> str:
    """Add this request's ids and route to every log line that follows; returns API Gateway's request id."""
    request_id: str = event["requestContext"].get("requestId") or context.aws_request_id
    _request.clear()
    _request["correlation_id"] = request_id
    logger.append_keys(
        correlation_id=request_id,
        function_request_id=context.aws_request_id,
        route=event.get("resource"),
        user_id=None,
    )
    return request_id


def authenticated(user_id: int) -> None:
    """Add the caller to every further log line of this request."""
    _request["user_id"] = user_id
    logger.append_keys(user_id=user_id)


def refused(status: int, problem: str) -> None:
    """Write one line for a request that is answered by a problem: its request id leads to status, type and caller.

    The line of metrics says the same, whatever the level of the log is.
    """
    _request["problem"] = problem
    logger.info("refused", extra={"status": status, "problem": problem})


def count(name: str, value: float = 1) -> None:
    """Add `value` to a metric; the next `emit` writes it."""
    metrics.add_metric(name, _UNITS.get(name, MetricUnit.Count), value)


def emit(event: Mapping[str, Any]) -> None:
    """Write one line with the metrics counted so far, by the request's route; it also has the request's id and user."""
    for name, value in _request.items():
        metrics.add_metadata(name, value)
    method = event["httpMethod"]
    # Each metric by route is paid for: preflight requests share one.
    metrics.add_dimension("route", method if method == "OPTIONS" else f"{method} {event['resource']}")
    metrics.flush_metrics()


def observe(event: Mapping[str, Any], status: int, started: float) -> None:
    """Write a request's metrics: its latency since `started` (`time.perf_counter`), and a fault for 5xx."""
    _request["status"] = status
    count("Latency", (time.perf_counter() - started) * 1000)
    if status >= 500:
        count("Faults")
    emit(event)
