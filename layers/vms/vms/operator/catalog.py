"""What hangs on a corporation or on a user: read from the database's own foreign keys, so that no table is forgotten.

A path leads from a table's rows to the root, over one column a step: view logs to their users to the corporation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg.sql import SQL, Composed, Identifier

from vms import database


class Edge(NamedTuple):
    """A foreign key of one column: `child.column` refers to `parent.key`."""

    child: str
    column: str
    parent: str
    key: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Catalog:
    """The schema's foreign keys, each table's primary key, and the tables with a column of bytes."""

    edges: tuple[Edge, ...]
    keys: dict[str, tuple[str, ...]]
    wide: frozenset[str]

    def of_corporation(self) -> list[str]:
        """The tables with rows of a corporation, each before those that it refers to, `corporation` last."""
        return self._reachable("corporation", self.edges)

    def of_user(self) -> list[str]:
        """The same for a user: what cannot be without it. `user` is last."""
        return self._reachable("user", [edge for edge in self.edges if not edge.optional])

    def mentions(self) -> list[Edge]:
        """Where rows that stay when a user goes name it, or what goes with it: they forget it."""
        going = self.of_user()
        return [edge for edge in self.edges if edge.optional and edge.parent in going and edge.child not in going]

    def paths(self, table: str, root: str, *, optional: bool = True) -> Iterator[Sequence[Edge]]:
        """Every way from a table to the root; the root itself has one of no step."""
        if table == root:
            yield ()
            return
        for edge in self.edges:
            if edge.child == table and edge.parent != table and (optional or not edge.optional):
                for rest in self.paths(edge.parent, root, optional=optional):
                    yield (edge, *rest)

    def rows(self, table: str, path: Sequence[Edge]) -> Composed:
        """`FROM … WHERE …` of the rows `t` of a table that this path leads from, to the root whose key is %(id)s."""
        text, names = SQL("FROM {} t").format(Identifier(table)), ["t"]
        for step, edge in enumerate(path[:-1]):
            text += SQL(" JOIN {} {} ON {} = {}").format(
                Identifier(edge.parent),
                Identifier(f"p{step}"),
                Identifier(f"p{step}", edge.key),
                Identifier(names[-1], edge.column),
            )
            names.append(f"p{step}")
        last = path[-1].column if path else self.keys[table][0]
        return text + SQL(" WHERE {} = %(id)s").format(Identifier(names[-1], last))

    def key(self, table: str) -> Composed:
        """The primary key of the rows `t`, as a row of columns."""
        return SQL(", ").join(Identifier("t", column) for column in self.keys[table])

    @staticmethod
    def _reachable(root: str, edges: Sequence[Edge]) -> list[str]:
        order: list[str] = []

        def visit(table: str) -> None:
            if table not in order:
                for child in sorted({edge.child for edge in edges if edge.parent == table and edge.child != table}):
                    visit(child)
                order.append(table)

        visit(root)
        return order


def read() -> Catalog:
    """The catalog of the database's own schema. Raises as `database.fetch_all` does."""
    found = database.fetch_all(
        """SELECT c.relname AS child, a.attname AS column, p.relname AS parent, k.attname AS key,
               NOT a.attnotnull AS optional
        FROM pg_constraint f
        JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class p ON p.oid = f.confrelid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = f.conkey[1]
        JOIN pg_attribute k ON k.attrelid = p.oid AND k.attnum = f.confkey[1]
        WHERE f.contype = 'f' AND c.relnamespace = current_schema()::regnamespace
        ORDER BY c.relname, a.attnum""",
        {},
    )
    keys = database.fetch_all(
        """SELECT c.relname AS table, array_agg(a.attname::text ORDER BY k.place) AS columns
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        CROSS JOIN unnest(i.indkey::int[]) WITH ORDINALITY AS k (attribute, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attribute
        WHERE i.indisprimary AND c.relnamespace = current_schema()::regnamespace
        GROUP BY c.relname""",
        {},
    )
    wide = database.fetch_all(
        """SELECT DISTINCT c.relname AS table FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.atttypid = 'bytea'::regtype AND c.relnamespace = current_schema()::regnamespace""",
        {},
    )
    edges = tuple(Edge(row["child"], row["column"], row["parent"], row["key"], row["optional"]) for row in found)
    primary = {row["table"]: tuple(row["columns"]) for row in keys}
    return Catalog(edges, primary, frozenset(row["table"] for row in wide))
