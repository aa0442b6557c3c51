"""Applies sql/migrations in order, each once and whole, under an advisory lock, as the owner of the schema.

Plain SQL files named NNNN_name.sql; the table `schema_migration` remembers what was applied and the file's SHA-256.
The functions log in as another role, `vms_app`, which the migrations make; here it gets its password and its limits.
"""

import hashlib
import re
from pathlib import Path
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from vms.reading import let_read

# The advisory lock of every run; the number has no meaning.
LOCK = 7_018_442_290_114_653
# The role of the functions, which sql/migrations makes and grants what it may.
APP_ROLE = "vms_app"
# Its limits: no request waits for the database longer. Nor does one wait for a statement to be compiled (PostgreSQL
# manual, chapter 30): where the planner expects much, that takes tens of milliseconds, and none here runs as long.
LIMITS = {
    "jit": "off",
    "statement_timeout": "10s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}

_NAME = re.compile(r"^\d{4}_[a-z0-9_]+\.sql$")


class MigrationError(Exception):
    """A migration failed, or a file differs from what was applied. Names the file, with PostgreSQL's message."""


class Login(NamedTuple):
    """How `vms_app` proves who it is: by this password, else by RDS IAM token, else as the server has it already."""

    password: str | None = None
    by_iam: bool = False

    @classmethod
    def of(cls, url: str) -> "Login":
        """By the password of this URL."""
        password = conninfo_to_dict(url).get("password")
        return cls(None if password is None else str(password))


def apply(owner_url: str, directory: Path, *, password: str | None = None, app: Login | None = None) -> list[str]:
    """Bring the schema up to date and return the names of the files that this call applied, in order.

    Each file runs in a transaction of its own together with its record, so a failed one changes nothing; concurrent
    callers run one after the other. `password` is the owner's, where the URL has none. With `app`, its role then gets
    that log-in and its limits, which are set on the role because RDS Proxy pins a client that says SET.

    Raises:
        MigrationError: a file failed, changed after it was applied, or is not named as it should be; or the role could
            not be changed.
        psycopg.OperationalError: the database cannot be reached.
    """
    files = _files(directory)
    conninfo = make_conninfo(owner_url, password=password)
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=10) as connection:
        connection.execute("SET statement_timeout = 0")  # whatever the role's is: an index may take longer
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
        if app is not None:
            _admit(connection, app)
        _grant(connection)
        let_read(connection, APP_ROLE)
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


def _admit(connection: psycopg.Connection[tuple[object, ...]], app: Login) -> None:
    role = sql.Identifier(APP_ROLE)
    try:
        with connection.transaction():
            for name, value in LIMITS.items():
                parts = {"role": role, "name": sql.Identifier(name), "value": sql.Literal(value)}
                connection.execute(sql.SQL("ALTER ROLE {role} SET {name} = {value}").format(**parts))
            if app.password is not None:
                # PostgreSQL logs a statement that fails: it gets what it stores, never the password.
                stored = connection.pgconn.encrypt_password(app.password.encode(), APP_ROLE.encode(), b"scram-sha-256")
                text = sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(stored.decode()))
                connection.execute(text)
            if app.by_iam != _is_iam_user(connection) and (app.by_iam or app.password is not None):
                change = sql.SQL("GRANT rds_iam TO {}" if app.by_iam else "REVOKE rds_iam FROM {}")
                connection.execute(change.format(role))
    except psycopg.Error as failure:
        said = f"the owner could not set up the role {APP_ROLE}: {str(failure).strip()}"
        raise MigrationError(f"{said} (it wants CREATEROLE, and to have made the role itself)") from failure


def _grant(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Give the functions' user the rights that 0005 did, on every table but the record of migrations.

    By DROP OWNED a role gives up what it would get on later tables, and a restoration may leave all privileges out.
    """
    found = connection.execute(
        """SELECT c.relname FROM pg_class c, pg_roles r
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = ANY('{r,p}') AND c.relname <> 'schema_migration'
            AND pg_get_userbyid(c.relowner) = current_user AND r.rolname = %s""",
        (APP_ROLE,),
    ).fetchall()
    if not found:
        return
    parts = {
        "role": sql.Identifier(APP_ROLE),
        "database": sql.Identifier(connection.info.dbname),
        "tables": sql.SQL(", ").join(sql.Identifier("public", str(name)) for (name,) in found),
    }
    rights: tuple[LiteralString, ...] = (
        "GRANT CONNECT ON DATABASE {database} TO {role}",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    )
    with connection.transaction():
        for text in rights:
            connection.execute(sql.SQL(text).format(**parts))


def _is_iam_user(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Whether RDS wants IAM tokens of the role: then a password does not let it in."""
    found = connection.execute(
        """SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
        WHERE r.rolname = 'rds_iam' AND u.rolname = %s""",
        (APP_ROLE,),
    )
    return found.fetchone() is not None
