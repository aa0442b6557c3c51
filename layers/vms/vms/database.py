"""The one PostgreSQL connection of an execution environment.

A Lambda serves one request at a time, so one connection is enough: opened on first use, checked without a round trip
before each use, and reopened after a failure or a SnapStart restore. Statements autocommit: a domain function's single
statement is its transaction and one round trip; where one statement cannot say it, `transaction()` makes the boundaries
plain.
"""

import json
import logging
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg import conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.sql import Composed

from vms.errors import Unavailable
from vms.settings import Settings, settings

logger = logging.getLogger(__name__)

type Row = DictRow
type Parameters = Mapping[str, object]
type Statement = LiteralString | Composed

_connection: psycopg.Connection[Row] | None = None


class Taken(Exception):
    """A unique constraint, named here, refused a row; nothing was changed."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class DatabaseFailed(Exception):
    """PostgreSQL refused a statement. Names the class and the SQLSTATE alone: PostgreSQL's text may hold a row."""


# What a failure means, by its SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
# The server is gone, full, going down, or read-only after a fail-over: another connection may do better.
_GONE = ("08", "53", "57P", "58", "25006", "XX")
# It took too long, or was in the way of another transaction: the same connection may do it later.
_BUSY = ("40", "55P03", "57014", "25P03")
# A schema change, or a pooler, has made a prepared statement of this connection void.
_STALE = ("0A000", "26000", "42P05")


def fetch_one(sql: Statement, parameters: Parameters) -> Row | None:
    """Run one statement in one round trip and return its first row, or None. Raises as `fetch_all` does."""
    rows = fetch_all(sql, parameters)
    return rows[0] if rows else None


def fetch_all(sql: Statement, parameters: Parameters) -> list[Row]:
    """Run one statement in one round trip and return all its rows.

    Raises:
        Unavailable: the database cannot be reached, or gave up on the statement.
        Taken: a unique constraint refused it; nothing was changed.
        DatabaseFailed: PostgreSQL refused it for another reason; nothing was changed.
    """
    with _reporting():
        try:
            return _run(sql, parameters)
        except psycopg.Error as failure:
            if failure.sqlstate not in _STALE or in_transaction():
                raise
            close()  # the statement did nothing: once more, prepared again
            return _run(sql, parameters)


def _run(sql: Statement, parameters: Parameters) -> list[Row]:
    # Within a transaction nothing is prepared: a void prepared statement could not be run again without the statements
    # before it.
    cursor = connection().execute(sql, parameters, prepare=False if in_transaction() else None)
    return cursor.fetchall() if cursor.description else []


@contextmanager
def transaction() -> Iterator[None]:
    """Run the statements within as one transaction, rolled back unless the block ends well. Raises as `fetch_all` does.

    Raise what is not a fault after the block: a block that fails closes the connection, because psycopg follows a
    ROLLBACK by DEALLOCATE ALL, which pins a client at RDS Proxy.
    """
    with _reporting():
        current = connection()
        try:
            current.execute("BEGIN", prepare=False)
            yield
            current.execute("COMMIT", prepare=False)
        except BaseException:
            close()
            raise


def in_transaction() -> bool:
    """Whether a transaction is open."""
    return _connection is not None and _connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE


def connection() -> psycopg.Connection[Row]:
    """The open connection. Raises `psycopg.OperationalError` when none can be had."""
    global _connection
    if _connection is not None and _lost(_connection):
        close()
    if _connection is None:
        _connection = open_connection(settings())
    return _connection


def open_connection(config: Settings) -> psycopg.Connection[Row]:
    """Open a connection as the settings say; the caller closes it.

    A statement that comes again is prepared, by protocol messages, which RDS Proxy multiplexes like any other query; it
    pins a client that says SET, PREPARE or DEALLOCATE
    (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy-pinning.html). So nothing is ever deallocated
    (there are as many statements as this package has), and time-outs are set on the role, by the migrations.
    """
    opened = psycopg.connect(
        conninfo.make_conninfo(
            config.database_url, password=password_for(config.database_url, config.database_password_secret, config)
        ),
        autocommit=True,
        prepare_threshold=1,
        row_factory=dict_row,
        connect_timeout=config.database_connect_timeout,
        application_name="vms",
    )
    opened.prepared_max = None
    return opened


def password_for(url: str, secret_arn: str, config: Settings) -> str | None:
    """The password where it is not in the URL: a secret's, or a new RDS IAM token, which is valid for 15 minutes.

    Read for each connection, so that a rotated one is found. Raises `Unavailable`.
    """
    if secret_arn and urlsplit(url).password is None:
        return secret_password(secret_arn, config)
    if not config.database_iam_auth:
        return None
    from vms.aws import database_token  # only where a token is needed: it brings an HTTP client along

    parts = conninfo.conninfo_to_dict(url)
    return database_token(str(parts["host"]), int(parts.get("port") or 5432), str(parts["user"]), config.region)


def secret_password(arn: str, config: Settings) -> str:
    """The password in a secret. Raises `Unavailable`."""
    from vms.aws import AwsError, secret  # only where there is a secret

    try:
        return _password_in(secret(arn, config.region))
    except AwsError as failure:
        logger.error("no database password: %s", failure)
        raise Unavailable from None


def _password_in(text: str) -> str:
    """Read a database's secret: JSON with the field `password`, as RDS keeps it, or else the password itself."""
    try:
        return str(json.loads(text)["password"])
    except (ValueError, KeyError, TypeError):
        return text


def close() -> None:
    """Close the connection; the next use opens another."""
    global _connection
    if _connection is not None:
        _connection.close()
        _connection = None


def reachable() -> bool:
    """Whether the database answers a statement now."""
    try:
        return fetch_one("SELECT 1 AS answer", {}) is not None
    except Unavailable:
        return False


def _lost(candidate: psycopg.Connection[Row]) -> bool:
    """Whether the server has closed an idle connection: its socket is then readable.

    Costs one system call, no round trip.
    """
    if candidate.closed:
        return True
    if in_transaction():
        return False  # a reconnect would silently leave it
    poll = select.poll()
    poll.register(candidate.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def _close_around_snapshots() -> None:
    """Close the connection before a SnapStart snapshot and after a restore: restored copies must not share one."""
    try:
        from snapshot_restore_py import register_after_restore, register_before_snapshot
    except ImportError:  # Lambda's runtime brings it along; nothing else needs it
        return
    register_before_snapshot(close)
    register_after_restore(close)


_close_around_snapshots()


@contextmanager
def _reporting() -> Iterator[None]:
    """Turn a driver's error into this module's, by the tables above, and close a connection that is unusable."""
    try:
        yield
    except psycopg.errors.UniqueViolation as failure:
        raise Taken(failure.diag.constraint_name or "") from None
    except psycopg.Error as failure:
        state, name = failure.sqlstate or "", type(failure).__name__
        lost = not state and isinstance(failure, (psycopg.OperationalError, psycopg.InterfaceError))
        if lost or state.startswith((*_GONE, *_STALE)):
            close()
        logger.error("database failure: %s %s", name, state)
        if lost or state.startswith((*_GONE, *_BUSY, *_STALE)):
            raise Unavailable from None
        raise DatabaseFailed(f"{name} {state}") from None
