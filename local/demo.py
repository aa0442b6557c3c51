"""The demo data of `make run`: local/demo.sql, with the films, their posters and one password for all members."""

import hashlib
import time
from pathlib import Path

import bcrypt
import psycopg

from local.daemon import DaemonError
from local.s3 import S3
from vms.paths import object_key

PASSWORD = "demo-password"  # noqa: S105 - printed on the terminal; it opens nothing but the demo  # nosec B105
DATA = Path(__file__).parents[1] / "tests" / "data"


def load(database_url: str, s3: S3) -> list[str]:
    """Load the demo data into an empty service; returns a line for each of its log-ins that still exists.

    Into a service that has ever had a corporation it loads nothing, so that what was deleted stays deleted. Raises
    `DaemonError`: a film could not be stored; nothing is in the database then.
    """
    with psycopg.connect(database_url) as connection:
        if not connection.execute("SELECT 1 FROM corporation LIMIT 1").fetchone():
            connection.execute(Path(__file__).with_suffix(".sql").read_bytes())
            _complete(connection, s3)
        rows = connection.execute(
            """SELECT c.name, c.plan_type, u.role, u.email FROM "user" u JOIN corporation c ON c.seq = u.corporation_id
            WHERE u.email ~ '^(admin|guest)@(paid|free)[.]example$' AND u.deleted_at IS NULL AND c.deleted_at IS NULL
            ORDER BY u.seq"""
        ).fetchall()
    return [f"{email:18}  {PASSWORD}  {role} of {name}, {plan}" for name, plan, role, email in rows]


def _complete(connection: psycopg.Connection[tuple[object, ...]], s3: S3) -> None:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode()  # one for all: it costs 0.25 s
    connection.execute('UPDATE "user" SET password = %s', (hashed,))
    for seq, corporation, path in connection.execute("SELECT seq, corporation_id, file_path FROM video").fetchall():
        film, key = DATA / Path(str(path)).name, object_key(int(str(corporation)), str(path))
        poster = film.with_suffix(".webp").read_bytes()
        added = "INSERT INTO video_poster (video_id, content_type, etag, content) VALUES (%s, 'image/webp', %s, %s)"
        connection.execute(added, (seq, hashlib.sha256(poster).hexdigest()[:32], poster))
        _upload(s3, key, film.read_bytes())


def _upload(s3: S3, key: str, film: bytes) -> None:
    for attempt in range(50):  # the server answers before its first volume takes writes
        status = s3.request("PUT", key, film).status
        if status == 200:
            return
        time.sleep(min(0.02 * (attempt + 1), 0.3))
    raise DaemonError(f"{key} could not be stored: the S3 server answers {status}")
