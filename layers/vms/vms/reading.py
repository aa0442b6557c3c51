"""The role that the operator's own statements run as: it reads every column but those that prove who somebody is."""

from typing import LiteralString

import psycopg
from psycopg import errors, sql

READER: LiteralString = "vms_reader"
# By table: hashes of passwords and of tokens, and what was made of requests.
SECRETS = {
    "user": ("password",),
    "refresh_token": ("token",),
    "login_attempt": ("subject",),
    "idempotency_key": ("key", "fingerprint", "answer"),
}


def let_read(connection: psycopg.Connection[tuple[object, ...]], member: str) -> bool:
    """Make the role, let it read, and let `member` take it on. False where the owner of the schema may not do that.

    Run after every migration, so that new tables and columns can be read and secret ones never can. What the role may,
    `member` may anyway: it gains nothing.
    """
    role, table = sql.Identifier(READER), sql.SQL("REVOKE ALL ON {table} FROM {role}")
    column = sql.SQL("GRANT SELECT ({columns}) ON {table} TO {role}")
    try:
        with connection.transaction():
            if not _is(connection, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", READER):
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
            if not _is(connection, "SELECT pg_has_role(%s, %s, 'MEMBER')", member, READER):
                connection.execute(sql.SQL("GRANT {} TO {}").format(role, sql.Identifier(member)))
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
            for name, columns in _columns(connection):
                shown = sql.SQL(", ").join(map(sql.Identifier, columns))
                parts = {"table": sql.Identifier("public", name), "role": role, "columns": shown}
                connection.execute(table.format(**parts))
                connection.execute(column.format(**parts))
    except (errors.InsufficientPrivilege, errors.DuplicateObject, errors.UniqueViolation):
        return False  # the last two: another database of this server has just made it; the next run grants
    return True


def _is(connection: psycopg.Connection[tuple[object, ...]], question: LiteralString, *names: str) -> bool:
    row = connection.execute(question, names).fetchone()
    return row is not None and bool(row[0])


def _columns(connection: psycopg.Connection[tuple[object, ...]]) -> list[tuple[str, list[str]]]:
    hidden = [f"{table}.{column}" for table, columns in SECRETS.items() for column in columns]
    cursor = connection.cursor(row_factory=psycopg.rows.tuple_row)
    return cursor.execute(
        """SELECT c.relname, array_agg(a.attname::text) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = ANY('{r,p,v,m}') AND a.attnum > 0
            AND NOT a.attisdropped AND c.relname <> 'schema_migration' AND pg_get_userbyid(c.relowner) = current_user
            AND c.relname || '.' || a.attname <> ALL(%s)
        GROUP BY c.relname ORDER BY c.relname""",
        (hidden,),
    ).fetchall()
