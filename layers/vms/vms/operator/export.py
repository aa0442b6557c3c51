"""Exports a corporation: every row of it, of every table, as JSON, in pages that a Lambda may answer."""

import json
from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from vms import database
from vms.database import DatabaseFailed
from vms.operator import catalog
from vms.operator.catalog import Catalog
from vms.operator.errors import Refused
from vms.reading import SECRETS

# Characters of a page's rows in JSON: an answer may have 6 MB (Lambda quotas, "Invocation payload").
MOST = 4_000_000
# Rows of one statement; few where a column holds bytes, such as a poster of 60 KB, which are shown in hexadecimal.
ROWS, WIDE_ROWS = 2000, 50


@dataclass(frozen=True, slots=True)
class Exported:
    """Some rows, each `{"table": …, "row": {…}}`, and where the next page begins; None after the last."""

    lines: list[dict[str, Any]]
    next_cursor: str | None


def page(corporation_id: int, cursor: str | None) -> Exported:
    """The page at a cursor, the first at None. Rows that change between two pages appear as they are then.

    Raises:
        Refused: there is no such corporation, or the cursor is not of this export.
    """
    schema = catalog.read()
    tables = [*reversed(schema.of_corporation())]
    table, after = _place(tables, cursor)
    if cursor is None and not database.fetch_all(
        "SELECT seq FROM corporation WHERE seq = %(id)s", {"id": corporation_id}
    ):
        raise Refused(f"there is no corporation {corporation_id}")
    lines: list[dict[str, Any]] = []
    size = 0
    while True:
        most = WIDE_ROWS if table in schema.wide else ROWS
        try:
            rows = _rows(schema, table, corporation_id, after, most)
        except DatabaseFailed:
            if lines or cursor is None:
                raise
            raise Refused("the cursor is not of this export") from None
        for row in rows:
            line = {"table": table, "row": row["row"]}
            size += len(json.dumps(line)) + 2
            if lines and size > MOST:
                return Exported(lines, json.dumps([table, after]))
            lines.append(line)
            after = row["key"]
        if len(rows) == most:
            continue
        following = tables.index(table) + 1
        if following == len(tables):
            return Exported(lines, None)
        table, after = tables[following], None


def _place(tables: list[str], cursor: str | None) -> tuple[str, list[Any] | None]:
    if cursor is None:
        return tables[0], None
    try:
        table, after = json.loads(cursor)
        if table in tables and (after is None or isinstance(after, list)):
            return table, after
    except (ValueError, TypeError):
        pass
    raise Refused("the cursor is not of this export")


def _rows(schema: Catalog, table: str, corporation_id: int, after: list[Any] | None, most: int) -> list[database.Row]:
    keys = schema.keys[table]
    mine = SQL(" UNION ").join(
        SQL("SELECT {} {}").format(schema.key(table), schema.rows(table, path))
        for path in schema.paths(table, "corporation")
    )
    key = schema.key(table)
    beyond = (
        SQL("true")
        if after is None
        else SQL("({}) > ({})").format(key, SQL(", ").join(Literal(value) for value in after))
    )
    text = SQL(
        """WITH mine AS MATERIALIZED ({mine})
        SELECT jsonb_build_array({key}) AS key, to_jsonb(t) - {hidden}::text[] AS row
        FROM mine JOIN {table} t USING ({using}) WHERE {beyond} ORDER BY {key} LIMIT {rows}"""
    ).format(
        mine=mine,
        key=key,
        hidden=Literal(list(SECRETS.get(table, ()))),
        table=Identifier(table),
        using=SQL(", ").join(Identifier(name) for name in keys),
        beyond=beyond,
        rows=most,
    )
    return database.fetch_all(text, {"id": corporation_id})
