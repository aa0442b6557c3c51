"""Streams a response out of a managed Python runtime, through the runtime's own client.

Lambda streams responses; its managed Python runtime does not yet (awslambdaric 2 to 4). But the client resolves
`marshaller` and `post_invocation_result` on its class at each invocation, the first of which is documented as the
function author's to replace. `install` replaces both, so that the loop, the logging, the init errors, X-Ray and
SnapStart remain AWS's own code. The format on the wire:
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

import base64
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

from vms.responses import Piece, Streamed

CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
DELIMITER = b"\0" * 8
# The kernel holds no more than about twice as many bytes (socket(7)): with more, a client that reads slowly would look
# stalled, because a send goes on only when a third of the buffer has left. It also bounds what the responses of many
# workers hold.
SEND_BUFFER = 256 * 1024
# SO_LINGER of zero seconds: close() drops what has not left, and the other side notices at once.
RESET = struct.pack("ii", 1, 0)

logger = logging.getLogger(__name__)


class DeadlineError(Exception):
    """The function's time is up in the middle of a stream."""


class StalledError(Exception):
    """The client has read nothing for so long that its stream is given up."""


def install(stall_seconds: float) -> None:
    """Make this process's runtime client stream what a handler returns as `Streamed`; the rest goes its usual way.

    A stream is cut when not a byte of it could be sent for `stall_seconds`.
    """
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
            echoed = named.get("invocation_id") or (more[1] if len(more) > 1 else None)
            _post(
                client.lambda_runtime_address,
                _head(client.lambda_runtime_address, invoke_id, echoed),
                result,
                stall_seconds,
            )
        else:
            post(client, invoke_id, result, *more, **named)

    found.marshaller = Marshaller()
    found.post_invocation_result = post_invocation_result


def running_in_lambda() -> bool:
    """Whether this process answers a Runtime API, rather than a test that calls the handler."""
    return "AWS_LAMBDA_RUNTIME_API" in os.environ


def _post(address: str, head: bytes, response: Streamed, stall_seconds: float) -> None:
    """Post one response, chunk by chunk, over a connection of its own; a raw socket spares importing http.client.

    A platform that itself waits for a stalled client may not notice the reset before the next event is asked for. It
    then refuses that (see `_wait_for_acknowledgement`), which ends this process and the stream; Lambda starts another.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            try:
                _send_all(connection, response, head, stall_seconds)
            except StalledError:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                logger.warning(
                    "the stream is cut: nothing could be sent for %g s, or until the deadline", stall_seconds
                )
                return
            _wait_for_acknowledgement(connection, response.deadline)
    except OSError as failure:
        # The client has left, or the platform has given up on this response: there is nobody to tell, and the runtime
        # lives on.
        logger.info("the stream was cut off by its reader: %s", type(failure).__name__)
    finally:
        response.close()


def _send_all(connection: socket.socket, response: Streamed, head: bytes, stall_seconds: float) -> None:
    """Send head, prelude, every chunk and the trailers, which name what went wrong if anything did.

    Raises:
        OSError: the reader is gone.
        StalledError: nothing could be sent for `stall_seconds`, or until the deadline.
    """

    def send(*parts: Piece) -> None:
        _send(connection, parts, stall_seconds, response.deadline)

    send(head, *_chunk(response.prelude() + DELIMITER))
    piece, trailers = response.first, b""
    while piece and not trailers:
        send(*_chunk(piece))
        try:
            piece = next((more for more in response.chunks if more), None)
        except Exception as failure:
            logger.exception("the stream broke off")
            trailers = _trailers(failure)
        else:
            if piece and time.monotonic() > response.deadline:
                logger.warning("the stream is cut off: the function's time is up")
                trailers = _trailers(DeadlineError("the function's time is up"))
    send(b"0\r\n", trailers, b"\r\n")


def _send(connection: socket.socket, parts: Sequence[Piece], stall_seconds: float, deadline: float) -> None:
    """Send the parts, in one system call if the system takes them at once. Raises as `_send_all` does."""
    left = [memoryview(part) for part in parts if part]
    while left:
        connection.settimeout(_at_least(min(stall_seconds, deadline - time.monotonic())))
        try:
            sent = connection.sendmsg(left)
        except TimeoutError:
            raise StalledError from None
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if left:
            left[0] = left[0][sent:]


def _wait_for_acknowledgement(connection: socket.socket, deadline: float) -> None:
    """Wait until the platform has the whole response, which ends this invocation.

    The platform buffers what its client reads slowly, and acknowledges only when that has left too. To ask for the next
    event before is refused with 403, and ends this process. So it is waited for until the deadline; that the buffer
    drains cannot be seen from here.
    """
    connection.settimeout(_at_least(deadline - time.monotonic()))
    try:
        connection.recv(4096)  # its text says nothing more
    except TimeoutError:
        logger.warning("the Runtime API did not acknowledge the stream")


def _at_least(seconds: float) -> float:
    """A time-out of that long; one of zero would mean not to wait at all, and a negative one is an error."""
    return max(seconds, 0.1)


def _chunk(data: Piece) -> tuple[Piece, Piece, Piece]:
    """One chunk of the chunked coding; never one of no bytes, which would end the body."""
    return b"%x\r\n" % len(data), data, b"\r\n"


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


def _trailers(failure: Exception) -> bytes:
    """What the platform logs of a failed stream: the error's type, and its message in base64."""
    name = type(failure).__name__
    body = json.dumps({"errorMessage": str(failure), "errorType": name, "stackTrace": []}).encode()
    encoded = base64.b64encode(body).decode()
    return f"Lambda-Runtime-Function-Error-Type: {name}\r\nLambda-Runtime-Function-Error-Body: {encoded}\r\n".encode()
