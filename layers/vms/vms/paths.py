"""Where a corporation's files are in the bucket: in a folder of its own, which no path leads out of.

This module alone makes the keys of S3. What the API takes and shows as `file_path` is relative to the folder.
"""

import re

from vms.errors import FileMissing

# S3 takes keys of at most 1024 bytes in UTF-8 (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
MAX_KEY_BYTES = 1024
# What is left of it beside "corporations/", 19 digits of a 64-bit id, and "/".
MAX_BYTES = MAX_KEY_BYTES - 33

# S3 itself gives `.` and `..` no meaning, but clients, proxies and other S3 servers resolve them, and fold empty parts.
_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_PART = rf"(?:[^./\\{_CONTROL}]|\.[^./\\{_CONTROL}]|\.\.[^/\\{_CONTROL}])[^/\\{_CONTROL}]*"
PATTERN = rf"^{_PART}(?:[/\\]{_PART})*$"

_PATH = re.compile(PATTERN)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def check(file_path: str) -> str:
    """Pass on a path within the folder.

    Raises:
        ValueError: it is longer than `MAX_BYTES`, blank, a URL, not relative, or has an empty part, a part that is `.`
            or `..`, or a control character.
    """
    if len(file_path.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes in UTF-8")
    if not file_path.strip():
        raise ValueError("must not be blank")
    if _URL.match(file_path):
        raise ValueError("must be a path within the corporation's folder, not a URL")
    if not _PATH.fullmatch(file_path):
        raise ValueError("must be a relative path without empty parts, . and .. in it")
    return file_path


def folder(corporation_id: int) -> str:
    """The folder of a corporation, with its slash: the beginning of the keys of all its objects."""
    return f"corporations/{corporation_id}/"


def object_key(corporation_id: int, file_path: str) -> str:
    """The S3 key of a corporation's file.

    Raises:
        FileMissing: the path is none that `check` lets pass, so there is no such file.
    """
    try:
        return folder(corporation_id) + check(file_path)
    except ValueError:
        raise FileMissing from None
