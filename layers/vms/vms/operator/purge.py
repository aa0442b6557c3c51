"""Purges: a user's or a corporation's rows in all tables, and its objects, for good.

Whatever interrupts one, the next call goes on: first nobody can use what is to go, then its objects go, then the rows,
those that refer to others first, and its own row last. Two at once do the same work, each row once. Points stay the sum
of view logs for whoever remains, because a user's logs go with the user. In the reports on videos and days what a user
did counts on, without a name.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from psycopg.sql import SQL, Composed, Identifier

from vms import database
from vms.database import DatabaseFailed, Parameters
from vms.domain import rollup
from vms.errors import Unavailable
from vms.operator import bucket, catalog
from vms.operator.catalog import Catalog, Edge
from vms.operator.errors import Refused
from vms.paths import folder

# Rows of one statement: each deletes its rows within the role's 10 seconds.
BATCH = 2000
# How often a statement that another transaction is in the way of is tried again, and after how long (seconds).
TRIES, PAUSE = 10, 0.5
_STILL_REFERRED_TO = "23503"


@dataclass(slots=True)
class Purged:
    """What this call has deleted: rows by table, versions of objects, open uploads. `done`: nothing is left."""

    found: bool
    rows: dict[str, int] = field(default_factory=dict)
    objects: int = 0
    uploads: int = 0
    done: bool = False


def corporation(corporation_id: int, out_of_time: Callable[[], bool]) -> Purged:
    """Purge a corporation with all that is its own, until `out_of_time`.

    Raises:
        StorageFailed, Unavailable: S3 or the database fails; the next call goes on.
    """
    schema, given = catalog.read(), {"id": corporation_id}
    purged = Purged(_again(lambda: _close_corporation(corporation_id)))
    if not _empty(corporation_id, purged, out_of_time):
        return purged
    *tables, root = schema.of_corporation()
    while not out_of_time():
        if not all(_delete(schema, table, "corporation", given, purged, out_of_time) for table in tables):
            continue
        # What was being uploaded when the corporation was closed has come to its end by now.
        if not _empty(corporation_id, purged, out_of_time):
            continue
        _forget_answers("corporation", given, purged)
        if _delete(schema, root, "corporation", given, purged, out_of_time):
            purged.done = True
            break
    return purged


def user(user_id: int, out_of_time: Callable[[], bool]) -> Purged:
    """Purge a user with its sessions, its views and its points. Rows of others forget it.

    Raises:
        Refused: it is the last admin of a corporation.
        Unavailable: the database fails; the next call goes on.
    """
    schema, given = catalog.read(), {"id": user_id}
    purged = Purged(_again(lambda: _close_user(user_id)))
    _roll_up(given, out_of_time)
    *tables, root = schema.of_user()
    while not out_of_time():
        if not all(_delete(schema, table, "user", given, purged, out_of_time) for table in tables):
            continue
        for edge in schema.mentions():
            _forget(schema, edge, given)
        _forget_answers("user", given, purged)
        if _delete(schema, root, "user", given, purged, out_of_time):
            purged.done = True
            break
    return purged


def _close_corporation(corporation_id: int) -> bool:
    """Delete it softly, as its admin would: from now on nobody gets in. Whether there is such a corporation."""
    with database.transaction():
        found = database.fetch_one("SELECT seq FROM corporation WHERE seq = %(id)s FOR UPDATE", {"id": corporation_id})
        database.fetch_all(
            """WITH gone AS (
                UPDATE corporation SET deleted_at = now(), updated_at = now()
                WHERE seq = %(id)s AND deleted_at IS NULL
            ), videos AS (
                UPDATE video SET deleted = true, updated_at = now() WHERE corporation_id = %(id)s AND NOT deleted
            )
            UPDATE "user" SET deleted_at = now(), updated_at = now(), epoch = epoch + 1
            WHERE corporation_id = %(id)s AND deleted_at IS NULL""",
            {"id": corporation_id},
        )
    return found is not None


def _close_user(user_id: int) -> bool:
    """Delete it softly, unless it is the last admin. Whether there is such a user."""
    with database.transaction():
        # As when an admin deletes a member: two admins cannot go at the same time.
        database.fetch_one(
            """SELECT c.seq FROM corporation c
            WHERE c.seq = (SELECT corporation_id FROM "user" WHERE seq = %(id)s) FOR NO KEY UPDATE""",
            {"id": user_id},
        )
        row = database.fetch_one(
            """WITH target AS (
                SELECT u.seq, u.role = 'admin' AND u.deleted_at IS NULL AND c.deleted_at IS NULL AND NOT EXISTS (
                    SELECT FROM "user" o WHERE o.corporation_id = u.corporation_id AND o.role = 'admin'
                        AND o.deleted_at IS NULL AND o.seq <> u.seq
                ) AS last_admin
                FROM "user" u JOIN corporation c ON c.seq = u.corporation_id WHERE u.seq = %(id)s
            ), gone AS (
                UPDATE "user" u SET deleted_at = now(), updated_at = now(), epoch = u.epoch + 1
                FROM target WHERE u.seq = target.seq AND NOT target.last_admin AND u.deleted_at IS NULL
            )
            SELECT target.last_admin FROM target""",
            {"id": user_id},
        )
    if row is not None and row["last_admin"]:
        raise Refused(
            f"user {user_id} is the last admin of its corporation: make another one first, or purge the corporation"
        )
    return row is not None


def _roll_up(given: Parameters, out_of_time: Callable[[], bool]) -> None:
    """Move what the user did into the running totals, in which it counts on."""
    noted = "SELECT a.user_id FROM activity a WHERE a.user_id = %(id)s LIMIT 1"
    while not out_of_time() and database.fetch_one(noted, given):
        if not _again(rollup.roll_up):
            time.sleep(PAUSE)  # the scheduled roll-up holds the lock


def _empty(corporation_id: int, purged: Purged, out_of_time: Callable[[], bool]) -> bool:
    emptied = bucket.empty(folder(corporation_id), out_of_time)
    purged.objects, purged.uploads = purged.objects + emptied.objects, purged.uploads + emptied.uploads
    return emptied.done


def _delete(
    schema: Catalog, table: str, root: str, given: Parameters, purged: Purged, out_of_time: Callable[[], bool]
) -> bool:
    """Delete the root's rows of one table; False if the time was over, or something refers to them again."""
    for path in schema.paths(table, root, optional=root == "corporation"):
        statement = _deleting(schema, table, path)
        while not out_of_time():
            try:
                gone = len(_again(partial(database.fetch_all, statement, given)))
            except DatabaseFailed as failure:
                if _STILL_REFERRED_TO in str(failure):
                    return False
                raise
            if gone == 0:
                break
            purged.rows[table] = purged.rows.get(table, 0) + gone
    return not out_of_time()


def _deleting(schema: Catalog, table: str, path: Sequence[Edge]) -> Composed:
    # The key, not the row's place: what another transaction has changed meanwhile is found all the same.
    return SQL("DELETE FROM {} t WHERE ({}) IN (SELECT {} {} LIMIT {} FOR UPDATE OF t) RETURNING 1 AS gone").format(
        Identifier(table), schema.key(table), schema.key(table), schema.rows(table, path), BATCH
    )


def _forget(schema: Catalog, edge: Edge, given: Parameters) -> None:
    for path in schema.paths(edge.parent, "user", optional=False):
        text = SQL("UPDATE {} t SET {} = NULL WHERE {} IN (SELECT {} {})").format(
            Identifier(edge.child),
            Identifier(edge.column),
            Identifier("t", edge.column),
            Identifier("t", edge.key),
            schema.rows(edge.parent, path),
        )
        _again(partial(database.fetch_all, text, given))


def _forget_answers(root: str, given: Parameters, purged: Purged) -> None:
    """Delete the kept answers about it: a sign-up's, a new member's or a new video's."""
    about_corporation = """k.answer::jsonb ->> 'corporation_id' = %(id)s::text
        OR k.answer::jsonb ? 'plan' AND k.answer::jsonb ->> 'id' = %(id)s::text"""
    about_user = "k.answer::jsonb ? 'email' AND k.answer::jsonb ->> 'id' = %(id)s::text"
    about = about_corporation if root == "corporation" else about_user
    gone = _again(lambda: database.fetch_all(f"DELETE FROM idempotency_key k WHERE {about} RETURNING 1 AS gone", given))
    if gone:
        purged.rows["idempotency_key"] = purged.rows.get("idempotency_key", 0) + len(gone)


def _again[T](work: Callable[[], T]) -> T:
    """Do it again while another transaction is in the way. Raises `Unavailable` when it stays there."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except Unavailable:
            time.sleep(PAUSE)
    return work()
