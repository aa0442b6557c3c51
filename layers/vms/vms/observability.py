"""Logs and metrics as operators read them: JSON lines with the request's ids, and CloudWatch metrics in the embedded format.

Neither ever holds a token, a password or a query string.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()
metrics = Metrics()


@contextmanager
def request_log(request_id: str, function_request_id: str, route: str | None) -> Iterator[None]:
    """Give every log line within the ids of the request and its route; emit the metrics counted within at the end."""
    logger.append_keys(correlation_id=request_id, function_request_id=function_request_id, route=route)
    try:
        yield
    finally:
        if metrics.metric_set:
            metrics.flush_metrics()


def count(name: str, value: float) -> None:
    """Count so many of a metric."""
    metrics.add_metric(name, MetricUnit.Bytes if name.startswith("Bytes") else MetricUnit.Count, value)
