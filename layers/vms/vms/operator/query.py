"""Runs one statement of the operator's, which can only read, and gives its rows as CSV.

The statement is sent by the extended protocol, which takes one alone, so that none follows it out of the transaction;
the transaction is read-only, has a time-out, and is rolled back. Within it the role is `vms.reading.READER`, which no
secret column is open to. What runs text as SQL or takes on another role is refused by name, because a role is left as
easily as it is taken on.
"""

import csv
import io
import json
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.sql import SQL

from vms import database
from vms.errors import Unavailable
from vms.operator.errors import Refused
from vms.reading import READER
from vms.settings import settings

# Bytes of the CSV as JSON, in which a character may take six; an answer may have 6 MB (Lambda quotas, "Invocation
# payload").
MOST = 5_000_000
_READS = re.compile(r"[\s(]*(SELECT|WITH|VALUES|TABLE|EXPLAIN|SHOW)\b", re.IGNORECASE)
_COMMENT = re.compile(r"/\*|--|\0")
_REFUSED = re.compile(r"set_config|\w*_to_xml\w*|ts_stat|ts_rewrite|dblink\w*|u&(?=[\"'])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows as CSV (RFC 4180) with a head, PostgreSQL's own text for each value, nothing for null.

    `truncated`: there are more rows than these.
    """

    csv: str
    rows: int
    truncated: bool


def run(statement: str, seconds: int) -> Answered:
    """Run a statement for so many seconds at most.

    Raises:
        Refused: it is not a statement that reads, PostgreSQL refuses it, or it took too long.
        Unavailable: the database cannot be reached.
    """
    if not _READS.match(statement) or _COMMENT.search(statement):
        raise Refused("one SELECT, WITH, VALUES, TABLE, EXPLAIN or SHOW without comments is run")
    if found := _REFUSED.search(statement):
        raise Refused(f"{found[0]} may not be used here")
    try:
        with closing(database.open_connection(settings())) as connection:
            connection.execute("BEGIN READ ONLY", prepare=False)
            limit = SQL("SET LOCAL statement_timeout = {}").format(seconds * 1000)
            connection.execute(limit, prepare=False)
            connection.execute(SQL("SET LOCAL ROLE {}").format(SQL(READER)), prepare=False)
            return _answer(connection.pgconn, statement)
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.InsufficientPrivilege):
        raise Refused(
            f"the functions may not be {READER}: make migrate lets them, if the owner may make roles"
        ) from None
    except psycopg.Error:
        raise Unavailable from None


def _answer(connection: PGconn, statement: str) -> Answered:
    connection.send_query_params(statement.encode(), [])
    connection.set_single_row_mode()
    lines: list[str] = []
    size = rows = 0
    while (result := connection.get_result()) is not None:
        if result.status not in {ExecStatus.SINGLE_TUPLE, ExecStatus.TUPLES_OK}:
            told = " ".join(result.get_error_message().split())
            closed = "; secret columns are closed: name the others" if "permission denied for table" in told else ""
            raise Refused((told or "this is no statement that reads") + closed)
        columns = range(result.nfields)
        if not lines:
            lines.append(_line([(result.fname(column) or b"").decode() for column in columns]))
        for row in range(result.ntuples):
            values = (result.get_value(row, column) for column in columns)
            line = _line([None if value is None else value.decode() for value in values])
            size += len(json.dumps(line))
            if size > MOST:
                if not rows:
                    raise Refused("a row has more than an answer may: ask for a part of it, such as left(column, 1000)")
                return Answered("".join(lines), rows, truncated=True)
            lines.append(line)
            rows += 1
    return Answered("".join(lines), rows, truncated=False)


def _line(values: Sequence[str | None]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
