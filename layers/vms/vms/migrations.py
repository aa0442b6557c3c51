"""Applies sql/migrations in order, each once and whole, under an advisory lock.

Plain SQL files named NNNN_name.sql; the table `schema_migration` remembers what was applied and the file's SHA-256.
"""

import hashlib
import re
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

# The advisory lock of every run; the number has no meaning.
LOCK = 7_018_442_290_114_653

_NAME = re.compile(r"^\d{4}_[a-z0-9_]+\.sql$")


class MigrationError(Exception):
    """A migration failed, or a file differs from what was applied. Names the file, with PostgreSQL's message."""


def apply(database_url: str, directory: Path, *, password: str | None = None) -> list[str]:
    """Bring the schema up to date and return the names of the files that this call applied, in order.

    Each file runs in a transaction of its own together with its record, so a failed one changes nothing; concurrent
    callers run one after the other. The role's time-outs are set here, because RDS Proxy pins a client that says SET.

    Raises:
        MigrationError: a file failed, changed after it was applied, or is not named as it should be.
        psycopg.OperationalError: the database cannot be reached.
    """
    files = _files(directory)
    conninfo = make_conninfo(database_url, password=password)
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=10) as connection:
        connection.execute("SET statement_timeout = 0")  # the role's limits are for requests; an index may take longer
        connection.execute("SET lock_timeout = 0")
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))  # released when the connection closes
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration ("
            "name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied: dict[str, str] = dict(connection.execute("SELECT name, sha256 FROM schema_migration").fetchall())
        done = []
        for name, text in files.items():
            digest = hashlib.sha256(text).hexdigest()
            if name not in applied:
                _run(connection, name, text, digest)
                done.append(name)
            elif applied[name] != digest:
                raise MigrationError(f"{name} was changed after it was applied: write a new migration instead")
        _limit_role(connection)
        return done


def _files(directory: Path) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in sorted(directory.glob("*.sql"))}
    if not files:
        raise MigrationError(f"there are no migrations in {directory}")
    if wrong := [name for name in files if not _NAME.match(name)]:
        raise MigrationError(f"{wrong[0]} is not named NNNN_name.sql")
    return files


def _run(connection: psycopg.Connection[tuple[object, ...]], name: str, text: bytes, digest: str) -> None:
    try:
        with connection.transaction():
            connection.execute(text)
            connection.execute("INSERT INTO schema_migration (name, sha256) VALUES (%s, %s)", (name, digest))
    except psycopg.Error as failure:
        raise MigrationError(f"{name} failed: {str(failure).strip()}") from failure


def _limit_role(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    connection.execute("ALTER ROLE CURRENT_USER SET statement_timeout = '10s'")
    connection.execute("ALTER ROLE CURRENT_USER SET lock_timeout = '2s'")
    connection.execute("ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '10s'")
    connection.execute("ALTER ROLE CURRENT_USER SET timezone = 'UTC'")
