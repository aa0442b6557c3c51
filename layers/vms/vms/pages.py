"""Keyset pages, newest first.

A page costs the same at any depth, and rows added or deleted meanwhile do not shift it.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vms.database import Row
from vms.errors import Invalid

FIRST = 2**63 - 1  # above every seq


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A part of a list, and the cursor that asks for the next part (null on the last)."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part: at most `limit` (1-100) rows below the row id `before`."""

    limit: int = 20
    before: int = FIRST

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters of a listing statement: one row more than a page, to know whether another page follows."""
        return {"before": self.before, "limit": self.limit + 1}

    def page[T](self, rows: Sequence[Row], build: Callable[[Row], T]) -> Page[T]:
        """Make a page of rows with their id in `seq`; a row with none stands for an empty list."""
        there = [row for row in rows if row["seq"] is not None]
        shown = there[: self.limit]
        more = len(there) > self.limit
        return Page([build(row) for row in shown], cursor_of(shown[-1]["seq"]) if more else None)


def cursor_of(seq: int) -> str:
    """The opaque cursor for the rows below this id."""
    return base64.urlsafe_b64encode(b"v1:%d" % seq).rstrip(b"=").decode()


def read_cursor(cursor: str) -> int:
    """The id that a cursor stands for.

    Raises:
        Invalid: this server did not make it.
    """
    try:
        version, _, digits = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(":")
        seq = int(digits)
    except (ValueError, binascii.Error):
        seq, version = 0, ""
    if version != "v1" or not 0 < seq <= FIRST or cursor_of(seq) != cursor:
        raise Invalid([("cursor", "is not a cursor of this list")])
    return seq
