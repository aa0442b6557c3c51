"""Runs one statement of the operator's, which can only read, and gives its rows as CSV.

The statement is sent by the extended protocol, which takes one alone, so that none follows it out of the transaction;
the transaction is read-only, has a time-out, and is rolled back. Within it the role is `vms.reading.READER`, which no
secret column is open to. What runs text as SQL or takes on another role is refused by name, because a role is left as
easily as it is taken on.
"""

import csv
import io
import re
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

# Characters of the CSV; an answer may have 6 MB, and JSON writes a line's end and a quote as two.
MOST = 2_500_000
_READS = re.compile(r"[\s(]*(SELECT|WITH|VALUES|TABLE|EXPLAIN|SHOW)\b", re.IGNORECASE)
_COMMENT = re.compile(r"/\*|--")
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
        Refused: it is no statement that reads, PostgreSQL refuses it, or it took too long.
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
    text, rows = io.StringIO(), 0
    writer = csv.writer(text, lineterminator="\n")
    while (result := connection.get_result()) is not None:
        match result.status:
            case ExecStatus.SINGLE_TUPLE | ExecStatus.TUPLES_OK:
                columns = range(result.nfields)
                if text.tell() == 0:
                    writer.writerow([(result.fname(column) or b"").decode() for column in columns])
                for row in range(result.ntuples):
                    values = (result.get_value(row, column) for column in columns)
                    writer.writerow([None if value is None else value.decode() for value in values])
                rows += result.ntuples
                if text.tell() > MOST:
                    return Answered(text.getvalue(), rows, truncated=True)
            case _:
                told = " ".join(result.get_error_message().split())
                closed = "; secret columns are closed: name the others" if "permission denied" in told else ""
                raise Refused((told or "this is no statement that reads") + closed)
    return Answered(text.getvalue(), rows, truncated=False)
