"""`python -m tests.killed_at FUNCTION STEP`: answers the event on the standard input, and kills itself after a step.

A step is a statement to PostgreSQL or a call to S3, counted from 1; 0 never comes. Prints the answer's status.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.client import BaseClient

from vms import database


def killing(call: Callable[..., Any], steps: list[int], last: int) -> Callable[..., Any]:
    """The same call; after its `last` one the process is gone, as by an operator's kill -9."""

    def counted(*arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        finally:
            steps.append(1)
            if len(steps) == last:
                os.kill(os.getpid(), signal.SIGKILL)

    return counted


def main(function: str, last: int) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "functions" / function))
    app = importlib.import_module("app")
    steps: list[int] = []
    database._run = killing(database._run, steps, last)
    BaseClient._make_api_call = killing(BaseClient._make_api_call, steps, last)  # type: ignore[attr-defined]
    context = SimpleNamespace(
        aws_request_id="killed",
        function_name="test",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:test",
        get_remaining_time_in_millis=lambda: 29_000,
    )
    answer = app.lambda_handler(json.load(sys.stdin), context)
    print(json.dumps({"status": answer.get("statusCode"), "steps": len(steps)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
