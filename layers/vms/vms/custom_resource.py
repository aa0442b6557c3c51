"""Answers CloudFormation for a custom resource.

The protocol: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html. A stack waits for the
answer, a JSON document PUT to the presigned URL of the event.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

# An answer may have 4,096 bytes. The other fields take a few hundred, and a character up to 6 bytes in ASCII JSON.
_REASON_CHARACTERS = 600
# Seconds to reach the URL, and for it to answer.
_TIMEOUT = 10.0


def is_request(event: Mapping[str, Any]) -> bool:
    """Whether CloudFormation sent this event."""
    return "ResponseURL" in event and "RequestType" in event


def succeed(event: Mapping[str, Any], physical_id: str) -> None:
    """Report success.

    Raises `OSError` when the answer does not arrive, `ValueError` when the event's ResponseURL is not a URL.
    """
    _answer(event, physical_id, "SUCCESS", "")


def fail(event: Mapping[str, Any], physical_id: str, reason: str) -> None:
    """Report failure: the stack rolls back and shows the reason, cut to 600 characters. Raises as `succeed` does."""
    _answer(event, physical_id, "FAILED", reason)


def _answer(event: Mapping[str, Any], physical_id: str, status: str, reason: str) -> None:
    url = str(event["ResponseURL"])
    if urlsplit(url).scheme not in {"https", "http"}:
        raise ValueError("ResponseURL is not an http URL")
    body = {
        "Status": status,
        "Reason": reason[:_REASON_CHARACTERS],
        # If this id changed, CloudFormation would send a Delete for the old one.
        "PhysicalResourceId": event.get("PhysicalResourceId") or physical_id,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    # The URL is signed for an empty content type.
    data = json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": ""}, method="PUT")  # noqa: S310 - the scheme was checked
    with urlopen(request, timeout=_TIMEOUT):  # noqa: S310 - the scheme was checked  # nosec B310
        pass
