"""The one tree of errors that a caller may see, each with its status and problem type (RFC 9457).

::

    Problem
     ├── BadJson              400
     ├── Unauthenticated      401
     ├── Forbidden            403
     │    ├── PlanRequired
     │    ├── PlanManaged
     │    └── QuotaExceeded
     ├── NotFound             404
     │    └── FileMissing
     ├── Conflict             409
     │    ├── UploadEnded
     │    └── UploadIncomplete
     ├── PreconditionFailed   412
     ├── TooLarge             413
     ├── RangeNotSatisfiable  416
     ├── Invalid              422
     │    ├── IdempotencyKeyReused
     │    └── NotAVideo
     ├── TooManyAttempts      429
     ├── TooManyStreams       429
     ├── Internal             500
     ├── StorageFailed        502
     └── Unavailable          503

Domain functions raise them; `vms.api` and the stream function alone turn them into `application/problem+json`.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

PROBLEM_JSON = "application/problem+json"


class Problem(Exception):
    """An answer that is an error. `detail` is shown to the caller, so it never has a secret or an exception's text."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "urn:vms:error:internal"
    title: ClassVar[str] = "Internal error"
    detail: str = "The server failed to answer. The request id names this failure in the logs."

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None) -> None:
        self.detail = detail or type(self).detail
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(self.detail)

    def body(self, request_id: str) -> dict[str, object]:
        """The members of the problem document. `instance` is the request id, which the log lines have too."""
        return {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": request_id,
        }


class Internal(Problem):
    """An unforeseen failure; the log has its cause, the answer does not."""


class BadJson(Problem):
    """The body is not JSON (RFC 8259) in UTF-8."""

    status = 400
    type = "urn:vms:error:bad-json"
    title = "Not JSON"
    detail = "The request body is not valid JSON."


class Unauthenticated(Problem):
    """No token, or one that is invalid, expired, revoked, of another type or of a deleted user (RFC 6750 section 3)."""

    status = 401
    type = "urn:vms:error:unauthenticated"
    title = "Not authenticated"
    detail = "A valid access token is required."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    """The caller's role does not allow it."""

    status = 403
    type = "urn:vms:error:forbidden"
    title = "Not allowed"
    detail = "Your role does not allow this."


class PlanRequired(Forbidden):
    """The corporation's effective plan does not allow it."""

    type = "urn:vms:error:plan-required"
    title = "A PAID plan is required"
    detail = "This needs a PAID plan that has not expired."


class PlanManaged(Forbidden):
    """Plans are the operator's (PLAN_CHANGES): no admin makes its corporation PAID, or says until when."""

    type = "urn:vms:error:plan-managed"
    title = "Plans are managed"
    detail = "Only the operator of this service makes a plan PAID or changes its expiry."


class QuotaExceeded(Forbidden):
    """The corporation's plan has no room for another video or for so many bytes; the detail says what is left."""

    type = "urn:vms:error:quota-exceeded"
    title = "The quota is used up"


class NotFound(Problem):
    """Does not exist, is deleted, or belongs to another corporation: the caller cannot tell which."""

    status = 404
    type = "urn:vms:error:not-found"
    title = "Not found"
    detail = "There is no such resource."


class FileMissing(NotFound):
    """The video is there and its object in S3 is not (yet): the uploader's matter, no fault of the service."""

    type = "urn:vms:error:file-missing"
    title = "The file is missing"
    detail = "This video has no file yet."


class PreconditionFailed(Problem):
    """`If-Match` or `If-Unmodified-Since` does not hold (RFC 9110 section 13.1)."""

    status = 412
    type = "urn:vms:error:precondition-failed"
    title = "Precondition failed"
    detail = "The file is another one than the request's condition names."


class Conflict(Problem):
    """A unique name or e-mail address is taken, or the last admin would go."""

    status = 409
    type = "urn:vms:error:conflict"
    title = "Conflict"


class UploadEnded(Conflict):
    """The upload was aborted, has expired, or is complete."""

    type = "urn:vms:error:upload-ended"
    title = "The upload has ended"
    detail = "This upload has ended. Begin another one."


class UploadIncomplete(Conflict):
    """Parts are missing, or have another size than announced; the detail names them."""

    type = "urn:vms:error:upload-incomplete"
    title = "The upload is incomplete"


class TooLarge(Problem):
    """A request body over 64 KiB, or an answer larger than the platform can send."""

    status = 413
    type = "urn:vms:error:too-large"
    title = "Too large"
    detail = "The request body is larger than 64 KiB."


class RangeNotSatisfiable(Problem):
    """The range lies outside of the object, which has `size` bytes (RFC 9110 section 15.5.17)."""

    status = 416
    type = "urn:vms:error:range-not-satisfiable"
    title = "Range not satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The range lies outside of the object's {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )


class Invalid(Problem):
    """A field is missing, of the wrong type, or out of its bounds. `errors` holds pairs of field and message."""

    status = 422
    type = "urn:vms:error:invalid"
    title = "Invalid request"
    detail = "The request has invalid fields."

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.errors = [{"field": field, "message": message} for field, message in errors]

    def body(self, request_id: str) -> dict[str, object]:
        """The problem document with the list of `errors`."""
        return {**super().body(request_id), "errors": self.errors}


class IdempotencyKeyReused(Invalid):
    """The caller has used this Idempotency-Key for another route or another body, which was answered with success."""

    type = "urn:vms:error:idempotency-key-reused"
    title = "Idempotency key reused"
    detail = "This Idempotency-Key was used for another request. Send a new key, a random one such as a UUID."

    def __init__(self) -> None:
        super().__init__([("Idempotency-Key", "was used for another request")])


class NotAVideo(Invalid):
    """The uploaded file is not a film. It was removed, and its upload has ended."""

    type = "urn:vms:error:not-a-video"
    title = "Not a video"
    detail = "The file is no film: no video track was found in it. It was removed."

    def __init__(self) -> None:
        super().__init__([("file", "must be a film")])


class TooManyAttempts(Problem):
    """Too many failed attempts at a password; try again after `seconds`."""

    status = 429
    type = "urn:vms:error:too-many-attempts"
    title = "Too many attempts"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many failed attempts. Try again in {seconds} seconds.", headers={"Retry-After": str(seconds)}
        )


class TooManyStreams(Problem):
    """The user has as many large streams at the same time as it may have (STREAMS_PER_USER)."""

    status = 429
    type = "urn:vms:error:too-many-streams"
    title = "Too many streams"
    detail = "You have too many streams at the same time. End one, or try again shortly."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "5"})


class StorageFailed(Problem):
    """S3 refuses, or does not answer well or in time."""

    status = 502
    type = "urn:vms:error:storage-failed"
    title = "Storage failed"
    detail = "The storage did not deliver this video's file."


class Unavailable(Problem):
    """The database is unreachable or took too long.

    If the answer to a COMMIT was lost, whether it took effect is unknown.
    """

    status = 503
    type = "urn:vms:error:unavailable"
    title = "Temporarily unavailable"
    detail = "The service cannot reach its database. Try again shortly."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})
