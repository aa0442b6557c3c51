"""What awslambdaric's compiled HTTP client does, for systems other than Linux, which it is not built for.

The Runtime API: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import http.client
import os

_PREFIX = "/2018-06-01/runtime/invocation"
_DEADLINE = "Lambda-Runtime-Deadline-Ms"
_connection: http.client.HTTPConnection | None = None


def initialize_client(user_agent: str) -> None:
    """Nothing is to be prepared."""


def next() -> tuple[bytes, dict[str, str | int]]:  # noqa: A001 - the compiled client's name
    """Wait for an event: its body and its headers, the deadline (ms since 1970) as a number. Raises `RuntimeError`."""
    status, headers, body = _exchange("GET", f"{_PREFIX}/next")
    if status != 200:
        raise RuntimeError(f"Failed to get next: {status}")
    return body, {**headers, _DEADLINE: int(headers[_DEADLINE])}


def post_invocation_result(
    invoke_id: str, result: bytes, content_type: str = "application/json", invocation_id: str | None = None
) -> None:
    """Post what the handler returned. Raises `RuntimeError`."""
    _post(f"{invoke_id}/response", result, {"Content-Type": content_type}, invocation_id)


def post_error(invoke_id: str, error: str, xray_fault: str, invocation_id: str | None = None) -> None:
    """Post what the handler raised. Raises `RuntimeError`."""
    headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-XRay-Error-Cause": xray_fault}
    _post(f"{invoke_id}/error", error.encode(), headers, invocation_id)


def _post(path: str, body: bytes, headers: dict[str, str], invocation_id: str | None) -> None:
    echoed = {"Lambda-Runtime-Invocation-Id": invocation_id} if invocation_id else {}
    status, _, _ = _exchange("POST", f"{_PREFIX}/{path}", body, headers | echoed)
    if status not in {200, 202}:
        raise RuntimeError(f"Failed to post: {status}")


def _exchange(
    method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request over the standing connection, or over a new one where the Runtime API has closed it meanwhile."""
    global _connection
    while True:
        fresh = _connection is None
        connection = _connection = _connection or http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers.items()), answer.read()
        except (OSError, http.client.HTTPException) as failure:
            connection.close()
            _connection = None
            if fresh:
                raise RuntimeError(f"The Runtime API does not answer: {failure}") from failure
