"""Rows as CSV that spreadsheets open well and safely (RFC 4180)."""

import csv
import dataclasses
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any

BOM = "\ufeff"  # without it, spreadsheets take UTF-8 for another encoding
# What makes a spreadsheet take a text for a formula (https://owasp.org/www-community/attacks/CSV_Injection): the last
# four are the full-width forms of the first, which East Asian editions read as these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_text(kind: type[Any], rows: Iterable[Any]) -> str:
    """The rows, dataclasses of this kind, below a line with the names of their fields. Times are in UTC, as in JSON."""
    names = [field.name for field in dataclasses.fields(kind)]
    text = io.StringIO(BOM)
    text.seek(len(BOM))
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
