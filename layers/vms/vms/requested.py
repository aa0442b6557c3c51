"""What a request for an object gets: the selected part with S3's answer, or the problem that its conditions raise."""

import time
from collections.abc import Mapping

from vms import ranges, storage
from vms.errors import PreconditionFailed, RangeNotSatisfiable, TooLarge
from vms.ranges import Selection


def fetch(
    key: str, fields: Mapping[str, str], slice_: int, whole: int, *, head: bool
) -> tuple[Selection, storage.Answer]:
    """The selection for these header fields (lower-case names), and S3's answer; without a body for HEAD and 304.

    `slice_` and `whole` are as `ranges.select` takes them. One request to S3, unless validators or size must be known
    first.

    Raises:
        FileMissing, StorageFailed: S3 has no such object, or does not answer well.
        PreconditionFailed, RangeNotSatisfiable, TooLarge: by the rules of `ranges.select`.
    """
    at_once, asked = ranges.ask(fields, slice_)
    try:
        answer = storage.get(key, asked) if at_once and not head else storage.head(key)
    except storage.Unsatisfiable:
        answer = storage.head(key)
    selection = ranges.select(fields, answer.found, slice_, whole, time.time())
    if selection.span is not None and selection.span == answer.span:
        return selection, answer
    answer.close()
    match selection.status:
        case 412:
            raise PreconditionFailed
        case 413:
            raise TooLarge("This file is too large to be sent whole: ask for it by Range.")
        case 416:
            raise RangeNotSatisfiable(answer.found.size)
    if head or selection.span is None:
        return selection, answer
    return selection, storage.get_span(answer, selection.span)
