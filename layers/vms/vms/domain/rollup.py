"""The roll-up of reports: the schedule moves what happened out of `activity` into running totals."""

import time
from typing import LiteralString

from vms import database

# Rows of `activity` of one transaction, so that none comes near the role's statement_timeout.
BATCH = 5000

_SUMS: LiteralString = """sum(x.views) AS views, sum(x.viewers) AS viewers, sum(x.completions) AS completions,
    sum(x.points) AS points, sum(x.seconds) AS seconds"""

# `came` are members in a quarter of an hour in which they were not counted yet. Such a one is new in each window of a
# day or a week that contains it and no other that is counted: those that begin after the one before it and end before
# the one after it. So the number of viewers rises at the first of these windows and falls after the last.
# `standing` are the totals from each subject's first change on, and the one before. They are read once, before anything
# is stored: a look-up for each row would pass all those stored before it, and take the square of their number.
_ROLL_UP: LiteralString = f"""WITH picked AS (
    SELECT a.user_id, a.video_id, a.bucket FROM activity a ORDER BY a.bucket LIMIT %(most)s FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM activity a USING picked p
    WHERE a.user_id = p.user_id AND a.video_id = p.video_id AND a.bucket = p.bucket
    RETURNING a.user_id, a.video_id, a.bucket, a.corporation_id, a.views, a.completions, a.points, a.seconds
), came AS (
    SELECT DISTINCT t.user_id, t.bucket, t.corporation_id FROM taken t
    WHERE t.views > 0
      AND NOT EXISTS (SELECT FROM viewer_presence n WHERE n.user_id = t.user_id AND n.bucket = t.bucket)
), noted AS (
    INSERT INTO viewer_presence (user_id, bucket, corporation_id)
    SELECT c.user_id, c.bucket, c.corporation_id FROM came c
), between_others AS (
    SELECT c.corporation_id, c.bucket, greatest(
        lag(c.bucket) OVER (PARTITION BY c.user_id ORDER BY c.bucket),
        (SELECT max(n.bucket) FROM viewer_presence n WHERE n.user_id = c.user_id AND n.bucket < c.bucket)
    ) AS before, (
        SELECT min(n.bucket) FROM viewer_presence n WHERE n.user_id = c.user_id AND n.bucket > c.bucket
    ) AS after
    FROM came c
), windows AS (
    SELECT w.kind, b.corporation_id, greatest(b.before, b.bucket - w.length) + interval '15 minutes' AS first,
           least(b.bucket, b.after - w.length) + interval '15 minutes' AS past
    FROM between_others b,
         (VALUES ('day', interval '24 hours'), ('week', interval '168 hours')) AS w (kind, length)
), changes AS (
    SELECT s.kind, s.subject, t.bucket, t.views, 0 AS viewers, t.completions, t.points, t.seconds
    FROM taken t, LATERAL (
        VALUES ('video', t.video_id), ('user', t.user_id), ('corporation', t.corporation_id)
    ) AS s (kind, subject)
    UNION ALL
    SELECT w.kind, w.corporation_id, s.bucket, 0, s.viewers, 0, 0, 0
    FROM windows w, LATERAL (VALUES (w.first, 1), (w.past, -1)) AS s (bucket, viewers) WHERE w.first < w.past
), starts AS (
    SELECT x.kind, x.subject, min(x.bucket) AS bucket FROM changes x GROUP BY x.kind, x.subject
), standing AS (
    SELECT r.kind, r.subject, r.bucket, r.views, r.viewers, r.completions, r.points, r.seconds, true AS changes
    FROM starts s JOIN activity_total r ON r.kind = s.kind AND r.subject = s.subject AND r.bucket >= s.bucket
    UNION ALL
    SELECT s.kind, s.subject, r.bucket, r.views, r.viewers, r.completions, r.points, r.seconds, false
    FROM starts s, LATERAL (
        SELECT r.bucket, r.views, r.viewers, r.completions, r.points, r.seconds FROM activity_total r
        WHERE r.kind = s.kind AND r.subject = s.subject AND r.bucket < s.bucket ORDER BY r.bucket DESC LIMIT 1
    ) r
), places AS (
    SELECT x.kind, x.subject, x.bucket, {_SUMS}, bool_and(x.changes) AS changes FROM (
        SELECT x.kind, x.subject, x.bucket, x.views, x.viewers, x.completions, x.points, x.seconds, true AS changes
        FROM changes x
        UNION ALL
        SELECT r.kind, r.subject, r.bucket, r.views - lag(r.views, 1, 0::bigint) OVER w,
               r.viewers - lag(r.viewers, 1, 0::bigint) OVER w,
               r.completions - lag(r.completions, 1, 0::bigint) OVER w, r.points - lag(r.points, 1, 0::bigint) OVER w,
               r.seconds - lag(r.seconds, 1, 0::numeric) OVER w, r.changes
        FROM standing r WINDOW w AS (PARTITION BY r.kind, r.subject ORDER BY r.bucket)
    ) x GROUP BY x.kind, x.subject, x.bucket
), running AS (
    SELECT x.kind, x.subject, x.bucket, x.changes, sum(x.views) OVER w AS views, sum(x.viewers) OVER w AS viewers,
           sum(x.completions) OVER w AS completions, sum(x.points) OVER w AS points, sum(x.seconds) OVER w AS seconds
    FROM places x WINDOW w AS (PARTITION BY x.kind, x.subject ORDER BY x.bucket)
), stored AS (
    INSERT INTO activity_total AS o (kind, subject, bucket, views, viewers, completions, points, seconds)
    SELECT x.kind, x.subject, x.bucket, x.views, x.viewers, x.completions, x.points, x.seconds
    FROM running x WHERE x.changes
    ON CONFLICT (kind, subject, bucket) DO UPDATE
    SET views = EXCLUDED.views, viewers = EXCLUDED.viewers, completions = EXCLUDED.completions,
        points = EXCLUDED.points, seconds = EXCLUDED.seconds
)
SELECT count(*) AS taken FROM taken"""


def roll_up(batches: int = 1000, seconds: float = 30.0) -> int:
    """Move what happened into the running totals, oldest first; returns how many rows of `activity` were moved.

    Each batch is a transaction: what a crash leaves, the next run takes. Another run at the same time leaves it to this
    one. What is left after so many batches, or so many seconds, waits for the next run; reports see it where it is. It
    is much only after the migration 0008, and the job that calls has more to do.
    """
    moved, end = 0, time.monotonic() + seconds
    for _ in range(batches):
        taken = _batch()
        moved += taken
        if taken < BATCH or time.monotonic() > end:
            break
    return moved


def _batch() -> int:
    with database.transaction():
        turn = database.fetch_one(
            """SELECT r.subject FROM activity_total r WHERE r.kind = 'roll-up' AND r.subject = 0
            FOR UPDATE SKIP LOCKED""",
            {},
        )
        # A statement of its own, whose snapshot has what the run before has stored.
        row = database.fetch_one(_ROLL_UP, {"most": BATCH}) if turn else None
    return int(row["taken"]) if row else 0
