"""Finds a request in the logs: every line of one request id, or what one user asked for within an hour.

Of a stack by CloudWatch Logs Insights, with the caller's own rights: logs:StartQuery and logs:GetQueryResults on the
two groups. Here in the files of `make run`.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from ops import deployed
from ops.deployed import DeployedError

# What a request id may be: API Gateway's, Lambda's and the local runner's are UUIDs.
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# What Logs Insights gives at most (CloudWatch Logs quotas).
MOST = 10_000
# Seconds to wait for it; it gives up itself after an hour.
PATIENCE = 300.0


def find(said: Mapping[str, str], stack: str, local: Path, output: TextIO) -> None:
    """Write the log lines, oldest first; `local` is the directory of the runner's logs.

    Raises:
        DeployedError: it is not said what to look for, nothing is found, or AWS refuses.
    """
    start, end = _period(said)
    request, user = said.get("ID"), said.get("MEMBER")
    if (request is None) == (user is None):
        raise DeployedError("which request? ID=… of an error's instance, or MEMBER=… with HOUR=2026-11-25T09")
    if request is not None and not _ID.fullmatch(request):
        raise DeployedError(f"ID is no request id: {request!r}")
    if user is not None and not (user.isascii() and user.isdigit()):
        raise DeployedError(f"MEMBER must be a number, not {user!r}")
    lines = _of_stack(stack, request, user, start, end) if stack else _of_files(local, request, user, start, end)
    found = False
    for line in lines:
        output.write(line.rstrip("\n") + "\n")
        found = True
    if not found:
        where = f"{stack or local}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        raise DeployedError(f"no line in the logs of {where}")


def _period(said: Mapping[str, str]) -> tuple[datetime, datetime]:
    """The hour HOUR, or the last DAYS (3)."""
    try:
        if hour := said.get("HOUR"):
            start = datetime.fromisoformat(hour if "T" in hour or " " in hour else "")
            start = start.astimezone(UTC) if start.tzinfo else start.replace(tzinfo=UTC)
            return start, start + timedelta(hours=1)
        if "MEMBER" in said:
            raise ValueError
        return datetime.now(UTC) - timedelta(days=int(said.get("DAYS", "3"))), datetime.now(UTC) + timedelta(minutes=1)
    except (ValueError, OverflowError):
        raise DeployedError("HOUR must be an hour of UTC, 2026-11-25T09, and DAYS a number of days") from None


def _of_files(directory: Path, request: str | None, user: str | None, start: datetime, end: datetime) -> Iterator[str]:
    found = []
    for path in sorted(directory.glob("*.log*")):
        for text in path.read_text("utf-8", "replace").splitlines():
            line = _parsed(text)
            at = _time(line)
            ids = {line.get("correlation_id"), line.get("function_request_id"), line.get("requestId")}
            if at and start <= at < end and (request in ids if request else str(line.get("user_id")) == user):
                found.append((at, text))
    return (text for _, text in sorted(found))


def _parsed(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text[text.index("{") :])
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _time(line: Mapping[str, Any]) -> datetime | None:
    try:
        if "_aws" in line:  # a line of metrics
            return datetime.fromtimestamp(line["_aws"]["Timestamp"] / 1000, UTC)
        return datetime.strptime(str(line["timestamp"]).replace(",", "."), "%Y-%m-%d %H:%M:%S.%f%z")
    except (KeyError, TypeError, ValueError):
        return None


def _of_stack(stack: str, request: str | None, user: str | None, start: datetime, end: datetime) -> Iterator[str]:
    outputs = deployed.outputs(stack)
    functions, access = outputs["FunctionLogGroup"], outputs["AccessLogGroup"]
    with deployed.aws("logs") as client:
        if request is not None:
            same = " or ".join(
                f'{name} = "{request}"' for name in ("correlation_id", "function_request_id", "requestId")
            )
            return iter(_query(client, [functions, access], same, start, end))
        lines = _query(client, [functions], f"user_id = {user}", start, end)
        requests = {str(_parsed(line).get("correlation_id")) for line in lines}
        named = [name for name in sorted(requests) if _ID.fullmatch(name)][:1000]
        if named:
            listed = ", ".join(f'"{name}"' for name in named)
            lines += _query(client, [access], f"requestId in [{listed}]", start, end)
        return iter(lines)


def _query(client: Any, groups: Iterable[str], condition: str, start: datetime, end: datetime) -> list[str]:
    text = f"fields @timestamp, @message | filter {condition} | sort @timestamp asc | limit {MOST}"
    begun = client.start_query(
        logGroupNames=list(groups),
        startTime=int(start.timestamp()),
        endTime=int(end.timestamp()),
        queryString=text,
        limit=MOST,
    )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = client.get_query_results(queryId=begun["queryId"])
        if answer["status"] == "Complete":
            rows = [{field["field"]: field["value"] for field in row} for row in answer["results"]]
            return [row["@message"] for row in rows if "@message" in row]
        if answer["status"] not in {"Scheduled", "Running"}:
            raise DeployedError(f"Logs Insights: {answer['status']}")
        time.sleep(1.0)
    raise DeployedError("Logs Insights takes too long: look for less, HOUR=… or DAYS=1")
