"""Logs and metrics as operators read them: JSON lines with the request's ids, and CloudWatch metrics in the embedded format.

Neither ever holds a token, a password or a query string.
"""

from aws_lambda_powertools import Logger, Metrics

logger = Logger()
metrics = Metrics()
