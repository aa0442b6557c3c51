"""Reports against the raw rows, in any zone, however much is rolled up; and what they cost."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.acts import Stage, create_database, staged
from tests.e2e.clients import Company, expect, found_company
from tests.e2e.films import put
from tests.in_process import context, load
from tests.service import Services
from vms import database
from vms.domain import rollup

pytestmark = pytest.mark.usefixtures("environment")

# Zones without and with quarters of an hour; a clock put back by an hour on 25 October, and one put forward by half an
# hour on 4 October.
ZONES = (
    "UTC",
    "Asia/Seoul",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Pacific/Kiritimati",
    "Europe/Berlin",
    "Australia/Lord_Howe",
)
FIRST, LAST = date(2026, 9, 28), date(2026, 10, 31)


@pytest.fixture(scope="module")
def stage(environment: dict[str, str], http: httpx.Client, services: Services) -> Iterator[Stage]:
    with staged(http, services, *create_database(services, "reports")) as found:
        yield found


class History:
    """Views, completions and watched seconds at moments of one's choice, written beside the API."""

    def __init__(self, stage: Stage, company: Company, members: int, videos: int) -> None:
        self.stage, self.company = stage, company
        own = stage.own
        own.execute(
            """INSERT INTO "user" (email, email_key, password, role, corporation_id)
            SELECT m, m, 'x', 'guest', %s
            FROM (SELECT 'm' || %s || '-' || n || '@example.com' AS m FROM generate_series(1, %s) n) m""",
            (company.id, company.id, members),
        )
        own.execute(
            """INSERT INTO video (name, file_path, corporation_id, duration)
            SELECT 'v' || n, 'x', %s, 100 FROM generate_series(1, %s) n""",
            (company.id, videos),
        )
        self.members = [
            row[0] for row in own.execute('SELECT seq FROM "user" WHERE corporation_id = %s', (company.id,))
        ]
        self.videos = [row[0] for row in own.execute("SELECT seq FROM video WHERE corporation_id = %s", (company.id,))]

    def view(self, user: int, video: int, at: datetime, points: int = 10) -> None:
        self.stage.own.execute(
            "INSERT INTO video_view_log (user_id, video_id, point, created_at) VALUES (%s, %s, %s, %s)",
            (user, video, points, at),
        )

    def watch(self, user: int, video: int, at: datetime, seconds: int, completed: datetime | None) -> None:
        self.stage.own.execute(
            """INSERT INTO video_progress (user_id, video_id, position, watched_seconds, reported_at, completed_at)
            VALUES (%s, %s, 1, %s, %s, %s)""",
            (user, video, seconds, at, completed),
        )

    def rows(self, path: str) -> list[dict[str, Any]]:
        """All rows of a report, over all its pages."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = expect(self.company.admin.get(f"/v1/reports/{path}&limit=7{cursor}"), 200)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"


@pytest.fixture(scope="module")
def history(stage: Stage) -> tuple[History, list[tuple[int, int, datetime]], list[tuple[int, int, datetime, int]]]:
    """A month of one company, half of it rolled up, by batches of seven and in an order that is not that of time."""
    made = History(stage, found_company(stage.http), 12, 8)
    chance = random.Random(11)
    begin = datetime(2026, 9, 27, tzinfo=UTC)
    views = [
        (user, video, begin + timedelta(minutes=chance.choice((1, 5, 180)) * chance.randrange(288)))
        for user in made.members
        for video in made.videos
        if chance.random() < 0.9
    ]
    watched = [(user, video, at + timedelta(minutes=9), chance.randrange(1, 101)) for user, video, at in views[::2]]
    chance.shuffle(views)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollup, "BATCH", 7)
        for number, (user, video, at) in enumerate(views):
            made.view(user, video, at, 10 * (number % 3 > 0))
            if number % 10 == 0:
                rollup.roll_up(number // 5 + 1)
    for user, video, at, seconds in watched:
        made.watch(user, video, at, seconds, at if seconds >= 90 else None)
    assert stage.value("SELECT count(*) FROM activity") > 10
    assert stage.value("SELECT count(*) FROM activity_total") > 10
    return made, views, watched


def midnight(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def raw(views: list[tuple[int, int, datetime]], zone: str, length: int) -> dict[str, tuple[int, int]]:
    """What the raw rows come to by day or week."""
    found = {}
    day = FIRST
    while day <= LAST:
        since, until = midnight(day, zone), midnight(day + timedelta(length), zone)
        users = [user for user, _, at in views if since <= at < until]
        found[day.isoformat()] = (len(users), len(set(users)))
        day += timedelta(length)
    return found


@pytest.mark.parametrize("rolled_up", [False, True])
@pytest.mark.parametrize("zone", ZONES)
def test_views_by_day_and_week_are_those_of_the_raw_rows(history: Any, zone: str, rolled_up: bool) -> None:
    made, views, _ = history
    if rolled_up:
        rollup.roll_up()
        assert made.stage.value("SELECT count(*) FROM activity") == 0
    for by, length in (("day", 1), ("week", 7)):
        rows = made.rows(f"views?by={by}&from={FIRST}&to={LAST}&timezone={zone}")
        assert [row["date"] for row in rows] == sorted((row["date"] for row in rows), reverse=True)
        assert {row["date"]: (row["views"], row["viewers"]) for row in rows} == raw(views, zone, length), by


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("days", [(None, None), (date(2026, 10, 2), date(2026, 10, 9)), (None, date(2026, 10, 1))])
def test_videos_and_members_are_those_of_the_raw_rows(history: Any, zone: str, days: Any) -> None:
    made, views, watched = history
    first, last = days
    since = midnight(first, zone) if first else datetime.min.replace(tzinfo=UTC)
    until = midnight(last + timedelta(1), zone) if last else datetime.max.replace(tzinfo=UTC)
    query = f"timezone={zone}" + (f"&from={first}" if first else "") + (f"&to={last}" if last else "")
    seen = [
        (user, video, 10 * (number % 3 > 0)) for number, (user, video, at) in enumerate(views) if since <= at < until
    ]
    played = [(user, video, seconds) for user, video, at, seconds in watched if since <= at < until]
    assert [
        (row["video_id"], row["viewers"], row["points"], row["completions"], row["watched_hours"])
        for row in made.rows(f"videos?{query}")
    ] == [
        (
            video,
            sum(each[1] == video for each in seen),
            sum(each[2] for each in seen if each[1] == video),
            sum(each[1] == video and each[2] >= 90 for each in played),
            round(sum(each[2] for each in played if each[1] == video) / 3600, 2),
        )
        for video in sorted(made.videos, reverse=True)
    ]
    assert [
        (row["user_id"], row["videos_viewed"], row["points"], row["videos_completed"])
        for row in made.rows(f"members?{query}")
    ] == [
        (
            user,
            sum(each[0] == user for each in seen),
            sum(each[2] for each in seen if each[0] == user),
            sum(each[0] == user and each[2] >= 90 for each in played),
        )
        for user in sorted(made.members, reverse=True)
    ]


def test_what_the_api_does_is_reported_at_once_and_after_the_schedule(stage: Stage, services: Services) -> None:
    company = found_company(stage.http)
    video = company.video(file_path=put(services.storage, company, b"film"))
    expect(company.guest.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    rollup.roll_up()
    assert company.guest.get(f"/v1/videos/stream/{video}").status_code == 200  # the points come later than the view
    expect(company.guest.call("PUT", f"/v1/videos/{video}/progress", {"position": 9, "watched": [[0, 27]]}), 200)
    for _ in range(2):
        (row,) = expect(company.admin.get("/v1/reports/videos"), 200)["items"]
        assert (row["viewers"], row["points"], row["completions"], row["watched_hours"]) == (1, 10, 0, 0.01)  # 27 s
        guest, admin = expect(company.admin.get("/v1/reports/members"), 200)["items"]
        assert (guest["user_id"], guest["videos_viewed"], guest["points"]) == (company.guest.id, 1, 10)
        assert (admin["user_id"], admin["videos_viewed"], admin["points"]) == (company.admin.id, 0, 0)
        assert guest["last_seen_at"] is not None
        today = expect(company.admin.get("/v1/reports/views?limit=1"), 200)["items"][0]
        assert (today["views"], today["viewers"]) == (1, 1)
        load("plan_expiry").lambda_handler({}, context())


def test_a_roll_up_at_the_same_time_leaves_it_to_the_other(stage: Stage, history: Any) -> None:
    made, *_ = history
    rollup.roll_up()
    made.view(made.company.admin.id, found_company(stage.http).video(), datetime(2026, 10, 3, tzinfo=UTC))
    with psycopg.connect(stage.own.info.dsn, password=stage.own.info.password) as other:
        other.execute("SELECT FROM activity_total WHERE kind = 'roll-up' FOR UPDATE")
        assert rollup.roll_up() == 0
    assert rollup.roll_up() == 1
    assert rollup.roll_up() == 0


def test_a_roll_up_looks_up_each_subject_once_and_not_each_quarter_of_an_hour(stage: Stage) -> None:
    made = History(stage, found_company(stage.http), 60, 20)
    rollup.roll_up()
    with stage.own.transaction(force_rollback=True):
        stage.own.execute(
            """INSERT INTO video_view_log (user_id, video_id, created_at)
            SELECT m, v, timestamptz '2026-01-01Z' + (row_number() OVER (ORDER BY m, v)) * interval '15 minutes'
            FROM unnest(%s::bigint[]) m, unnest(%s::bigint[]) v""",
            (made.members, made.videos),
        )
        text = f"EXPLAIN (ANALYZE, FORMAT JSON) {rollup._ROLL_UP}"
        row = stage.own.execute(text, {"most": rollup.BATCH}).fetchone()
    assert row is not None
    # Look-ups within a statement pass all that it has stored so far: one for each row would take the rows' square.
    assert 0 < max(loops_of(row[0][0]["Plan"], "activity_total")) <= len(made.members) + len(made.videos) + 3


def loops_of(plan: dict[str, Any], table: str) -> list[float]:
    """How often each scan of this table ran."""
    own = [float(plan["Actual Loops"])] if plan.get("Relation Name") == table and "Scan" in plan["Node Type"] else []
    return own + [loops for step in plan.get("Plans", []) for loops in loops_of(step, table)]


def test_a_roll_up_ends_after_its_time_and_the_next_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    company = found_company(stage.http)
    rollup.roll_up()
    for who in (company.guest, company.admin):
        expect(who.call("POST", "/v1/view-logs", {"video_id": company.video()}), 201)
    monkeypatch.setattr(rollup, "BATCH", 1)
    assert [rollup.roll_up(seconds=-1), rollup.roll_up(seconds=-1), rollup.roll_up()] == [1, 1, 0]


def test_a_roll_up_that_crashes_moves_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    company = found_company(stage.http)
    expect(company.guest.call("POST", "/v1/view-logs", {"video_id": company.video()}), 201)
    before = stage.value("SELECT count(*) FROM activity")
    fetch_one = database.fetch_one

    def crash(statement: Any, given: Any) -> Any:
        found = fetch_one(statement, given)
        if given:
            raise SystemExit  # after the statement, before the COMMIT
        return found

    with monkeypatch.context() as patch:
        patch.setattr(database, "fetch_one", crash)
        with pytest.raises(SystemExit):
            rollup.roll_up()
    assert stage.value("SELECT count(*) FROM activity") == before
    assert rollup.roll_up() == before


def test_what_is_deleted_for_good_leaves_nothing_behind(stage: Stage) -> None:
    company = found_company(stage.http)
    video = company.video()
    for who in (company.guest, company.admin):
        expect(who.call("POST", "/v1/view-logs", {"video_id": video}), 201)
        rollup.roll_up()
    ids = [company.guest.id, company.admin.id]
    left = """SELECT (SELECT count(*) FROM activity WHERE user_id = ANY(%s))
        + (SELECT count(*) FROM viewer_presence WHERE user_id = ANY(%s))
        + (SELECT count(*) FROM activity_total WHERE kind = 'user' AND subject = ANY(%s)
           OR kind = 'video' AND subject = %s OR kind IN ('corporation', 'day', 'week') AND subject = %s)"""
    assert stage.value(left, ids, ids, ids, video, company.id) > 7
    expect(company.guest.call("PUT", f"/v1/videos/{video}/progress", {"position": 9, "watched": [[0, 27]]}), 200)
    for table in ("video_view_log", "video_progress", "refresh_token", "activity", "viewer_presence"):
        stage.own.execute(sql.SQL("DELETE FROM {} WHERE user_id = ANY(%s)").format(sql.Identifier(table)), (ids,))
    stage.own.execute("DELETE FROM video WHERE seq = %s", (video,))
    stage.own.execute('DELETE FROM "user" WHERE seq = ANY(%s)', (ids,))
    stage.own.execute("DELETE FROM corporation WHERE seq = %s", (company.id,))
    assert stage.value(left, ids, ids, ids, video, company.id) == 0


REPORTS = (
    "videos?",
    "members?",
    "videos?from=2026-03-01&to=2026-03-31&timezone=Asia/Seoul",
    "views?to=2026-04-30",
    "views?by=week&to=2026-04-30",
)


def fill(history: History, days: int) -> None:
    """A view of each video by each member, spread over so many days."""
    history.stage.own.execute(
        """INSERT INTO video_view_log (user_id, video_id, point, created_at)
        SELECT u.seq, v.seq, 10, timestamptz '2026-01-01Z'
               + (u.seq * 7919 + v.seq * 104729) %% (%s * 1440) * interval '1 minute'
        FROM "user" u JOIN video v USING (corporation_id) WHERE corporation_id = %s AND u.role = 'guest'""",
        (days, history.company.id),
    )


def plan_of(history: History, path: str) -> dict[str, Any]:
    """How a report's statement was carried out."""
    sent: list[tuple[Any, Any]] = []
    fetch_all = database.fetch_all

    def record(statement: Any, given: Any) -> Any:
        sent.append((statement, given))
        return fetch_all(statement, given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "fetch_all", record)
        expect(history.company.admin.get(f"/v1/reports/{path}"), 200)
    ((statement, given),) = sent
    row = history.stage.own.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", given).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    found: dict[str, Any] = plan[0]["Plan"]
    return found


def buffers(history: History, path: str) -> int:
    """The pages of the database that a report's statement touches."""
    plan = plan_of(history, path)
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def rows_of(plan: dict[str, Any]) -> float:
    """How many rows all steps of a plan have passed on."""
    own = float(plan["Actual Rows"]) * float(plan["Actual Loops"])
    return own + sum(rows_of(step) for step in plan.get("Plans", []))


@pytest.mark.parametrize("factor", [20, pytest.param(1000, marks=pytest.mark.deep)])
def test_a_report_costs_the_same_with_fifty_times_the_views(stage: Stage, factor: int) -> None:
    few = History(stage, found_company(stage.http), factor, 20)
    many = History(stage, found_company(stage.http), 50 * factor, 20)
    for made in (few, many):
        fill(made, 120)
    while rollup.roll_up():
        pass
    stage.own.execute("VACUUM ANALYZE")
    for path in REPORTS:
        cheap, dear = buffers(few, path), buffers(many, path)
        assert dear <= 1.5 * cheap, f"{path}: {cheap} pages with few views, {dear} with many"
    # Where a clock is changed, the members of an hour are counted one by one, not those of the week.
    for change in (
        "Europe/Berlin",
        "Australia/Lord_Howe",
    ):  # on 29 March by an hour more, on 5 April by half an hour less
        rows = rows_of(plan_of(many, f"views?by=week&from=2026-03-23&to=2026-04-05&timezone={change}"))
        assert rows < 50 * factor * 20 * 14 / 120 / 5, f"{change}: {rows} rows"
