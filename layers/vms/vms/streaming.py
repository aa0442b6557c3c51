"""Streams a response out of a managed Python runtime, through the runtime's own client.

Lambda streams responses; its managed Python runtime does not yet (awslambdaric 2 to 4). But the client resolves `marshaller` and
`post_invocation_result` on its class at each invocation, the first of which is documented as the function author's to
replace. `install` replaces both, so that the loop, the logging, the init errors, X-Ray and SnapStart remain AWS's own code. The format on the wire:
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

import base64
import json
import logging
import os
import socket
import time
from typing import Any

from vms.responses import Streamed

CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
DELIMITER = b"\0" * 8
# The platform acknowledges a whole response at once; it is not waited for longer than this (seconds).
ACKNOWLEDGED_WITHIN = 5.0

logger = logging.getLogger(__name__)


class DeadlineError(Exception):
    """The function's time is up in the middle of a stream."""


def install() -> None:
    """Make the runtime client of this process stream what a handler returns as `Streamed`; everything else goes its usual way."""
    from awslambdaric import lambda_runtime_client
    from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

    # Before awslambdaric 4 there was one class, without a base of its own.
    found = getattr(lambda_runtime_client, "BaseLambdaRuntimeClient", None) or lambda_runtime_client.LambdaRuntimeClient

    class Marshaller(LambdaMarshaller):  # type: ignore[misc]  # awslambdaric has no types
        def marshal_response(self, response: object) -> tuple[Any, str]:
            if isinstance(response, Streamed):
                try:
                    response.prelude()  # headers that do not fit fail here, where the client posts an error
                    response.begin()
                except BaseException:
                    response.close()
                    raise
                return response, CONTENT_TYPE
            marshalled: tuple[Any, str] = super().marshal_response(response)
            return marshalled

    post = found.post_invocation_result

    def post_invocation_result(client: Any, invoke_id: str, result: object, *more: Any, **named: Any) -> None:
        if isinstance(result, Streamed):
            # The content type comes first, then, since awslambdaric 4.0.2, an id to be echoed.
            _send(
                client.lambda_runtime_address,
                invoke_id,
                result,
                named.get("invocation_id") or (more[1] if len(more) > 1 else None),
            )
        else:
            post(client, invoke_id, result, *more, **named)

    found.marshaller = Marshaller()
    found.post_invocation_result = post_invocation_result


def running_in_lambda() -> bool:
    """Whether this process answers a Runtime API, rather than a test that calls the handler."""
    return "AWS_LAMBDA_RUNTIME_API" in os.environ


def _send(address: str, invoke_id: str, response: Streamed, invocation_id: str | None) -> None:
    """Post one response, chunk by chunk, over a connection of its own; a raw socket spares importing http.client."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(_head(address, invoke_id, invocation_id))
            _send_chunk(connection, response.prelude() + DELIMITER)
            trailers = _send_body(connection, response)
            connection.sendall(b"0\r\n" + trailers + b"\r\n")
            connection.settimeout(ACKNOWLEDGED_WITHIN)
            connection.recv(4096)  # the acknowledgement, whose text says nothing more
    except TimeoutError:
        logger.warning("the Runtime API did not acknowledge the stream")
    except OSError as failure:
        # The client has left, or the platform has given up on this response: there is nobody to tell, and the runtime lives on.
        logger.info("the stream was cut off by its reader: %s", type(failure).__name__)
    finally:
        response.close()


def _head(address: str, invoke_id: str, invocation_id: str | None) -> bytes:
    lines = [
        f"POST /2018-06-01/runtime/invocation/{invoke_id}/response HTTP/1.1",
        f"Host: {address}",
        f"Content-Type: {CONTENT_TYPE}",
        "Lambda-Runtime-Function-Response-Mode: streaming",
        "Transfer-Encoding: chunked",
        "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        "Connection: close",
    ]
    if invocation_id:
        lines.append(f"Lambda-Runtime-Invocation-Id: {invocation_id}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _send_body(connection: socket.socket, response: Streamed) -> bytes:
    """Send every chunk; returns the trailers, which name what went wrong if anything did. Raises `OSError` when the reader is gone."""
    chunk = response.first
    while chunk:
        _send_chunk(connection, chunk)
        try:
            chunk = next((more for more in response.chunks if more), None)
        except Exception as failure:
            logger.exception("the stream broke off")
            return _trailers(failure)
        if chunk and time.monotonic() > response.deadline:
            logger.warning("the stream is cut off: the function's time is up")
            return _trailers(DeadlineError("the function's time is up"))
    return b""


def _send_chunk(connection: socket.socket, chunk: bytes) -> None:
    """One chunk of the chunked coding, in one system call; never one of no bytes, which would end the body."""
    parts = (b"%x\r\n" % len(chunk), chunk, b"\r\n")
    sent = connection.sendmsg(parts)
    if sent < sum(map(len, parts)):  # a signal came in between
        connection.sendall(b"".join(parts)[sent:])


def _trailers(failure: Exception) -> bytes:
    """What the platform logs of a failed stream: the error's type, and its message in base64."""
    name = type(failure).__name__
    body = json.dumps({"errorMessage": str(failure), "errorType": name, "stackTrace": []}).encode()
    encoded = base64.b64encode(body).decode()
    return f"Lambda-Runtime-Function-Error-Type: {name}\r\nLambda-Runtime-Function-Error-Body: {encoded}\r\n".encode()
