"""The demo data of `make run`: two corporations with an admin and a guest each, and two films that play."""

import time
from pathlib import Path

import bcrypt
import psycopg

from local.daemon import DaemonError
from local.s3 import S3
from vms.canonical import email_key, name_key
from vms.paths import object_key

PASSWORD = "demo-password"  # noqa: S105 - printed on the terminal; it opens nothing but the demo  # nosec B105
FILMS = {"Colours and tones": "colours.mp4", "Into the fractal": "zoom.mp4"}
CORPORATIONS = {"Paid Pictures": ("PAID", "paid.example"), "Free Films": ("FREE", "free.example")}
DATA = Path(__file__).parents[1] / "tests" / "data"


def load(database_url: str, s3: S3) -> list[str]:
    """Load the demo data into an empty service; returns a line for each of its log-ins that still exists.

    Into a service that has ever had a corporation it loads nothing, so that what was deleted stays deleted. Raises
    `DaemonError`: a film could not be stored; nothing is in the database then.
    """
    with psycopg.connect(database_url) as connection:
        if not connection.execute("SELECT 1 FROM corporation LIMIT 1").fetchone():
            _insert(connection, s3)
        rows = connection.execute(
            """SELECT c.name, c.plan_type, u.role, u.email FROM "user" u JOIN corporation c ON c.seq = u.corporation_id
            WHERE u.email = ANY(%s) AND u.deleted_at IS NULL AND c.deleted_at IS NULL ORDER BY u.seq""",
            ([f"{role}@{domain}" for _, domain in CORPORATIONS.values() for role in ("admin", "guest")],),
        ).fetchall()
    return [f"{email:18}  {PASSWORD}  {role} of {name}, {plan}" for name, plan, role, email in rows]


def _upload(s3: S3, key: str, film: bytes) -> None:
    # The server answers before its first volume takes writes; botocore would retry just so.
    for attempt in range(50):
        status = s3.request("PUT", key, film).status
        if status == 200:
            return
        time.sleep(min(0.02 * (attempt + 1), 0.3))
    raise DaemonError(f"{key} could not be stored: the S3 server answers {status}")


def _insert(connection: psycopg.Connection[tuple[int]], s3: S3) -> None:
    password = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode()  # one for all four: it costs 0.25 s
    for name, (plan, domain) in CORPORATIONS.items():
        added = "INSERT INTO corporation (name, name_key, plan_type) VALUES (%s, %s, %s) RETURNING seq"
        (corporation,) = connection.execute(added, (name, name_key(name), plan)).fetchone() or (0,)
        added = 'INSERT INTO "user" (email, email_key, password, role, corporation_id) VALUES (%s, %s, %s, %s, %s)'
        for role in ("admin", "guest"):
            email = f"{role}@{domain}"
            connection.execute(added, (email, email_key(email), password, role, corporation))
        added = "INSERT INTO video (name, file_path, corporation_id) VALUES (%s, %s, %s)"
        for title, film in FILMS.items():
            connection.execute(added, (title, f"demo/{film}", corporation))
            _upload(s3, object_key(corporation, f"demo/{film}"), (DATA / film).read_bytes())
