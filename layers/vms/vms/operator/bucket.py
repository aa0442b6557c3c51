"""Empties a folder of the bucket: every version, every delete marker, and the parts of incomplete uploads."""

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from vms.errors import StorageFailed
from vms.settings import settings, stream_settings

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Emptied:
    """How many versions and open uploads went; `done` is False where the time was over first."""

    objects: int = 0
    uploads: int = 0
    done: bool = False


def empty(prefix: str, out_of_time: Callable[[], bool]) -> Emptied:
    """Delete what is under the prefix for good, in pages of 1,000, until nothing is left, or until `out_of_time`.

    It asks for the first page again and again, so that it goes on wherever it, or another, has stopped.

    Raises:
        StorageFailed: S3 refuses or does not answer; what went before is gone.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    emptied = Emptied()
    try:
        with closing(_client()) as client:
            while not out_of_time():
                gone = _abort_uploads(client, prefix), _delete_versions(client, prefix)
                emptied.uploads, emptied.objects = emptied.uploads + gone[0], emptied.objects + gone[1]
                if not any(gone):
                    emptied.done = True
                    break
    except (BotoCoreError, ClientError) as failure:
        code = failure.response["Error"]["Code"] if isinstance(failure, ClientError) else type(failure).__name__
        logger.error("S3 refuses: %s", code)
        raise StorageFailed(f"S3 refuses to empty {prefix}: {code}.") from None
    return emptied


def _abort_uploads(client: Any, prefix: str) -> int:
    found = client.list_multipart_uploads(Bucket=stream_settings().bucket, Prefix=prefix).get("Uploads", [])
    for upload in found:
        try:
            client.abort_multipart_upload(
                Bucket=stream_settings().bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        except client.exceptions.NoSuchUpload:  # completed or aborted meanwhile
            continue
    return len(found)


def _delete_versions(client: Any, prefix: str) -> int:
    bucket = stream_settings().bucket
    page = client.list_object_versions(Bucket=bucket, Prefix=prefix)
    found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
    objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
    if objects:
        refused = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True}).get("Errors", [])
        if refused:
            raise StorageFailed(f"S3 refuses to delete an object of {prefix}: {refused[0]['Code']}.")
    return len(objects)


def _client() -> Any:
    from botocore.config import Config
    from botocore.session import get_session

    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})
    return get_session().create_client(
        "s3", settings().region, endpoint_url=stream_settings().endpoint_url or None, config=config
    )
