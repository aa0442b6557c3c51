"""Files in parts, in S3: begun, signed, listed, completed, read by ranges and removed, by botocore's client.

botocore is imported when the client is first asked for: what only looks for work, as the hourly job, starts without it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from vms.errors import FileMissing, StorageFailed
from vms.settings import settings, upload_settings

logger = logging.getLogger(__name__)

# S3's limits (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html): parts, and bytes of an object.
MAX_PARTS = 10_000
MAX_BYTES = 5 * 1024**4
# How often an upload's parts are removed again: one that was on its way may arrive after the first time.
ABORTS = 5


@dataclass(frozen=True, slots=True)
class Part:
    """A part that S3 has; `size` in bytes."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Found:
    """An object: its bytes, its ETag, and its version where the bucket has versions."""

    size: int
    etag: str
    version: str | None


class PartsRefused(Exception):
    """S3 does not take the parts together: one has changed, or is too small."""


@cache
def client() -> Any:
    """The S3 client of this process, for the region's own host, so that a signed URL works from anywhere."""
    from botocore.config import Config
    from botocore.session import get_session

    config = upload_settings()
    own = bool(config.endpoint_url)  # an emulator or a local server has no host for each bucket
    style: Literal["path", "virtual"] = "path" if own or "." in config.bucket else "virtual"
    return get_session().create_client(
        "s3",
        region_name=settings().region,
        endpoint_url=config.endpoint_url or f"https://s3.{settings().region}.{_suffix(settings().region)}",
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": style},
            connect_timeout=2,
            read_timeout=100,  # S3 may take minutes to put a large object together
            retries={"mode": "standard", "total_max_attempts": 3},
            # A browser sends a part as it is, without a checksum of its own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _suffix(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def begin(key: str) -> str:
    """Begin an upload of this object; returns S3's id of it. Raises `StorageFailed`."""
    with _reporting():
        return str(client().create_multipart_upload(**_at(key))["UploadId"])


def sign(key: str, upload_id: str, number: int, size: int, seconds: int) -> str:
    """A URL to PUT this part to, for so many seconds. The length is signed: no other is taken."""
    given = {**_at(key), "UploadId": upload_id, "PartNumber": number, "ContentLength": size}
    return str(client().generate_presigned_url("upload_part", Params=given, ExpiresIn=seconds))


def parts(key: str, upload_id: str) -> list[Part] | None:
    """The parts that S3 has, in their order; None where it has no such upload (any more). Raises `StorageFailed`."""
    with _reporting():
        pages = client().get_paginator("list_parts").paginate(**_at(key), UploadId=upload_id)
        try:
            listed = [part for page in pages for part in page.get("Parts", [])]
        except client().exceptions.ClientError as refusal:
            if _code(refusal) == "NoSuchUpload":
                return None
            raise
    return [Part(part["PartNumber"], part["Size"], part["ETag"]) for part in listed]


def complete(key: str, upload_id: str, listed: Sequence[Part]) -> None:
    """Put the object together; does nothing where S3 has no such upload (any more).

    Raises:
        PartsRefused: S3 does not take these parts.
        StorageFailed: S3 does not answer well.
    """
    given = {"Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in listed]}
    with _reporting():
        try:
            client().complete_multipart_upload(**_at(key), UploadId=upload_id, MultipartUpload=given)
        except client().exceptions.ClientError as refusal:
            if _code(refusal) in {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}:
                raise PartsRefused from None
            if _code(refusal) != "NoSuchUpload":
                raise


def find(key: str) -> Found | None:
    """What the object is; None where there is none. Raises `StorageFailed`."""
    with _reporting():
        try:
            head = client().head_object(**_at(key))
        except client().exceptions.ClientError as refusal:
            if _code(refusal) in {"404", "NoSuchKey", "NotFound"}:
                return None
            raise
    return Found(head["ContentLength"], head["ETag"], head.get("VersionId"))


def read(key: str, found: Found, start: int, size: int) -> bytes:
    """So many bytes of the object as it was found, fewer at its end.

    Raises:
        FileMissing: it is gone or another one.
        StorageFailed: S3 does not answer well.
    """
    wanted = f"bytes={start}-{start + size - 1}"
    with _reporting():
        try:
            answer = client().get_object(**_at(key), Range=wanted, IfMatch=found.etag)
            return bytes(answer["Body"].read())
        except client().exceptions.ClientError as refusal:
            if _code(refusal) in {"NoSuchKey", "404", "PreconditionFailed", "412"}:
                raise FileMissing from None
            raise


def remove(key: str) -> None:
    """Remove all of an object that never was one: every upload of it with its parts, and itself, with its version.

    Raises `StorageFailed`.
    """
    for upload_id in _uploads(key):
        abort(key, upload_id)
    found = find(key)
    if found is not None:
        with _reporting():
            version = {"VersionId": found.version} if found.version else {}
            client().delete_object(**_at(key), **version)


def delete(key: str) -> None:
    """Delete an object; a bucket with versions keeps it for as long as its rules say. Raises `StorageFailed`."""
    with _reporting():
        client().delete_object(**_at(key))


def _uploads(key: str) -> list[str]:
    """S3's ids of the uploads of this object that are neither completed nor aborted."""
    with _reporting():
        pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=upload_settings().bucket, Prefix=key)
        return [each["UploadId"] for page in pages for each in page.get("Uploads", []) if each["Key"] == key]


def abort(key: str, upload_id: str) -> None:
    """Abort until S3 has no parts of the upload, as its documentation of AbortMultipartUpload asks.

    Raises `StorageFailed`.
    """
    for _ in range(ABORTS):
        with _reporting():
            try:
                client().abort_multipart_upload(**_at(key), UploadId=upload_id)
            except client().exceptions.ClientError as refusal:
                if _code(refusal) != "NoSuchUpload":
                    raise
        if not parts(key, upload_id):
            return
    raise StorageFailed("The storage still has parts of this upload. Try again shortly.")


def _at(key: str) -> Mapping[str, str]:
    return {"Bucket": upload_settings().bucket, "Key": key}


def _code(refusal: Any) -> str:
    return str(refusal.response.get("Error", {}).get("Code", ""))


@contextmanager
def _reporting() -> Iterator[None]:
    """Turn the client's errors into `StorageFailed`."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except (BotoCoreError, HTTPClientError, ClientError) as failure:
        said = _code(failure) if isinstance(failure, ClientError) else ""
        logger.warning("S3 failed: %s %s", type(failure).__name__, said)
        raise StorageFailed("The storage did not answer well. Try again shortly.") from None
