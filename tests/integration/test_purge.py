"""Purges: what is to go goes from every table and from the bucket, whatever interrupts it, and nothing else changes."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from botocore.session import get_session
from psycopg import sql

from tests import environment as environments
from tests.acts import Stage, create_database, of_database, staged
from tests.e2e.clients import PASSWORD, PIXEL, Company, Person, add_member, expect, found_company, problem, unique
from tests.e2e.films import FILM
from tests.e2e.senders import begin, film_of, send
from tests.in_process import context, load
from tests.service import Services, forget
from vms.domain import rollup
from vms.operator import bucket, catalog, purge
from vms.paths import folder

ROOT = Path(__file__).parents[2]
type Rows = dict[str, Counter[str]]

# Tables whose rows belong to nobody by a foreign key, and why.
UNLINKED = {
    "schema_migration": "which migrations were applied",
    "activity_total": "sums by the id of a user, a video or a corporation; a trigger deletes them with it",
    "login_attempt": "counts failures by a hash, for 15 minutes",
    "idempotency_key": "answers by a hash, for 24 hours; a purge finds its own by what they say",
}
# Tables of a later release, which the functions know nothing of: found by their foreign keys alone.
LATER = """
CREATE TABLE album (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    corporation_id bigint NOT NULL REFERENCES corporation (seq),
    made_by bigint REFERENCES "user" (seq),
    cover bytea
);
CREATE TABLE album_video (
    album_id bigint NOT NULL REFERENCES album (seq),
    video_id bigint NOT NULL REFERENCES video (seq),
    PRIMARY KEY (album_id, video_id)
);
CREATE TABLE rating (user_id bigint NOT NULL REFERENCES "user" (seq), stars int, PRIMARY KEY (user_id));
"""


class Bucket:
    """A bucket that keeps versions, and what is in it."""

    def __init__(self, environment: dict[str, str], name: str) -> None:
        self.name = name
        self.client: Any = get_session().create_client(
            "s3",
            environment["AWS_REGION"],
            endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )
        made: Any = self.client
        made.create_bucket(Bucket=name)
        made.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def fill(self, corporation_id: int) -> None:
        """Objects, their old versions, one that is deleted, and an upload that is not complete."""
        folder = f"corporations/{corporation_id}/"
        for key in ("film.mp4", "film.mp4", "deep/er/필름 ü.mp4", "gone.mp4"):
            self.client.put_object(Bucket=self.name, Key=folder + key, Body=b"film")
        self.client.delete_object(Bucket=self.name, Key=folder + "gone.mp4")
        begun = self.client.create_multipart_upload(Bucket=self.name, Key=folder + "open.mp4")
        part = {"UploadId": begun["UploadId"], "PartNumber": 1}
        self.client.upload_part(Bucket=self.name, Key=folder + "open.mp4", Body=b"part", **part)

    def contents(self) -> set[tuple[str, str]]:
        """Each version, delete marker and open upload, by key and id."""
        page = self.client.list_object_versions(Bucket=self.name)
        found = {
            (each["Key"], each["VersionId"]) for kind in ("Versions", "DeleteMarkers") for each in page.get(kind, [])
        }
        uploads = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return found | {(each["Key"], each["UploadId"]) for each in uploads}


@dataclass
class Place:
    """A database and a bucket of these tests' own."""

    stage: Stage
    bucket: Bucket
    environment: dict[str, str]

    def rows(self) -> Rows:
        """Every row of every table, as JSON."""
        tables = self.stage.own.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migration'"
        ).fetchall()
        query = sql.SQL("SELECT to_jsonb(t)::text FROM {} t")
        return {
            name: Counter(text for (text,) in self.stage.own.execute(query.format(sql.Identifier(name))))
            for (name,) in tables
        }

    def populated(self) -> Company:
        """A company with at least one row in every table, and files."""
        company = found_company(self.stage.http)
        keys = [{"Idempotency-Key": unique("k")} for _ in range(2)]
        body = {"email": f"{unique('m')}@example.com", "password": PASSWORD}
        member = expect(company.admin.call("POST", "/v1/users", body, headers=keys[0]), 201)["id"]
        video = expect(
            company.admin.call("POST", "/v1/videos", {"name": "v", "file_path": "film.mp4"}, headers=keys[1]), 201
        )["id"]
        self.bucket.fill(company.id)
        for viewer in (company.admin, company.guest):
            assert viewer.get(f"/v1/videos/stream/{video}").status_code == 200
        rollup.roll_up()
        watched = {"position": 3, "watched": [[0, 3]]}
        expect(company.guest.call("PUT", f"/v1/videos/{video}/progress", watched), 200)
        expect(company.admin.call("PUT", f"/v1/videos/{video}/poster", PIXEL), 200)
        film_of(company.admin, FILM)
        send(company.admin, begin(company.admin, len(FILM)), FILM)
        own = self.stage.own
        own.execute("INSERT INTO stream_lease VALUES (%s, 1, gen_random_uuid(), now())", (member,))
        album = self.stage.value(
            "INSERT INTO album (corporation_id, made_by, cover) VALUES (%s, %s, 'x') RETURNING seq",
            company.id,
            company.guest.id,
        )
        own.execute("INSERT INTO album_video VALUES (%s, %s)", (album, video))
        own.execute("INSERT INTO rating VALUES (%s, 5)", (company.guest.id,))
        company.videos.append(video)
        return company


@pytest.fixture(scope="module")
def place(environment: dict[str, str], http: httpx.Client, services: Services) -> Iterator[Place]:
    urls = create_database(services, "purges")
    with psycopg.connect(of_database(services.database.owner_url, "purges"), autocommit=True) as owner:
        owner.execute(LATER)
    kept = Bucket(environment, "purges")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDEO_BUCKET", kept.name)
        forget()
        with closing(kept.client), staged(http, services, *urls) as stage:
            yield Place(stage, kept, {**environment, "DATABASE_URL": urls[0], "VIDEO_BUCKET": kept.name})
    forget()


def operate(action: str, **event: Any) -> Any:
    return load("operator").lambda_handler({"action": action, "yes": True, **event}, context())


def of_company(rows: Rows, company: Company, users: set[int]) -> Rows:
    """The rows that are a company's by what their columns say, read without the catalog."""
    albums = {json.loads(text)["seq"] for text in rows["album"] if json.loads(text)["corporation_id"] == company.id}

    subjects = {"user": users, "video": set(company.videos)}

    def owned(table: str, row: dict[str, Any]) -> bool:
        answer = json.loads(row.get("answer") or "{}")
        return (
            (table == "corporation" and row["seq"] == company.id)
            or row.get("corporation_id") == company.id
            or row.get("user_id") in users
            or row.get("video_id") in company.videos
            or row.get("album_id") in albums
            or answer.get("corporation_id") == company.id
            or (table == "activity_total" and row["subject"] in subjects.get(row["kind"], {company.id}))
        )

    return {table: Counter(t for t in texts if owned(table, json.loads(t))) for table, texts in rows.items()}


def users_of(place: Place, company: Company) -> set[int]:
    found = place.stage.own.execute('SELECT seq FROM "user" WHERE corporation_id = %s', (company.id,))
    return {row[0] for row in found}


def check_points(place: Place) -> None:
    wrong = place.stage.own.execute(
        """SELECT u.seq FROM "user" u LEFT JOIN video_view_log l ON l.user_id = u.seq
        GROUP BY u.seq, u.point HAVING u.point <> coalesce(sum(l.point), 0)"""
    ).fetchall()
    assert wrong == []


def test_every_table_is_purged_and_exported_or_named_with_a_reason(place: Place) -> None:
    schema = catalog.read()
    known = {*schema.of_corporation(), *UNLINKED}
    assert place.rows().keys() | {"schema_migration"} == known, "a foreign key to what it belongs to, or a reason"
    foreign = place.stage.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND cardinality(conkey) > 1")
    assert foreign == 0, "a foreign key of several columns is not followed"
    assert not [edge for edge in schema.edges if schema.keys[edge.parent] != (edge.key,)]
    assert not [table for table in known - {"schema_migration"} if not schema.keys[table]]


def test_a_users_purge_takes_no_video_and_no_corporation_along(place: Place) -> None:
    assert not {"video", "corporation"} & set(catalog.read().of_user())


def test_a_purged_corporation_is_gone_from_every_table_and_from_the_bucket(place: Place) -> None:
    neighbour, company = place.populated(), place.populated()
    place.bucket.client.put_object(Bucket=place.bucket.name, Key=f"corporations/{company.id}1/film.mp4", Body=b"other")
    place.bucket.client.put_object(Bucket=place.bucket.name, Key=f"corporations/{company.id}", Body=b"no folder")
    before, files = place.rows(), place.bucket.contents()
    own = of_company(before, company, users_of(place, company))
    empty = {table for table, rows in own.items() if not rows} - {"login_attempt"}
    assert not empty, f"have `populated` make a row in {empty}"
    folder = f"corporations/{company.id}/"
    answer = operate("purge-corporation", corporation=company.id)
    # A trigger deletes the totals with what they are of.
    assert answer["rows"] == {table: rows.total() for table, rows in own.items() if rows and table != "activity_total"}
    assert (answer["found"], answer["done"], answer["objects"], answer["uploads"]) == (True, True, 6, 2)
    assert place.rows() == {table: rows - own[table] for table, rows in before.items()}
    assert place.bucket.contents() == {each for each in files if not each[0].startswith(folder)}
    again = operate("purge-corporation", corporation=company.id)
    assert again == {"found": False, "rows": {}, "objects": 0, "uploads": 0, "done": True}
    problem(company.admin.get("/v1/auth/me"), 401, "unauthenticated")
    assert neighbour.guest.get(f"/v1/videos/stream/{neighbour.videos[0]}").status_code == 200
    check_points(place)


def test_the_name_and_the_addresses_of_a_purged_corporation_are_free(place: Place) -> None:
    company = place.populated()
    operate("purge-corporation", corporation=company.id)
    body = {"name": company.name, "admin_email": company.admin.email, "admin_password": PASSWORD}
    expect(place.stage.http.post("/v1/corporations", json=body), 201)


@pytest.mark.parametrize("rolled_up", [False, True])
def test_what_a_purged_user_did_counts_on_in_reports_on_others(place: Place, rolled_up: bool) -> None:
    company = found_company(place.stage.http)
    video, watched = company.video(), {"position": 36, "watched": [[0, 20]]}
    expect(company.guest.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    expect(company.guest.call("PUT", f"/v1/videos/{video}/progress", watched), 200)
    if rolled_up:
        rollup.roll_up()
    paths = ("videos", "views?by=day", "views?by=week")
    before = [expect(company.admin.get(f"/v1/reports/{path}"), 200)["items"] for path in paths]
    assert (before[0][0]["viewers"], before[0][0]["watched_hours"]) == (1, 0.01)
    assert operate("purge-user", user=company.guest.id)["done"] is True
    assert [expect(company.admin.get(f"/v1/reports/{path}"), 200)["items"] for path in paths] == before
    assert [row["user_id"] for row in expect(company.admin.get("/v1/reports/members"), 200)["items"]] == [
        company.admin.id
    ]


def test_a_purge_waits_for_a_roll_up_that_is_at_work(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    company = found_company(place.stage.http)
    expect(company.guest.call("POST", "/v1/view-logs", {"video_id": company.video()}), 201)
    pauses: list[float] = []
    with psycopg.connect(place.stage.own.info.dsn, password=place.stage.own.info.password) as other:
        other.execute("SELECT FROM activity_total WHERE kind = 'roll-up' FOR UPDATE")

        def end(seconds: float) -> None:
            pauses.append(seconds)
            other.rollback()

        monkeypatch.setattr("vms.operator.purge.time.sleep", end)
        assert operate("purge-user", user=company.guest.id)["done"] is True
    assert len(pauses) == 1
    assert expect(company.admin.get("/v1/reports/videos"), 200)["items"][0]["viewers"] == 1


def test_a_purged_user_is_gone_and_everybody_else_keeps_what_they_had(place: Place) -> None:
    company = place.populated()
    rollup.roll_up()
    before, files, guest = place.rows(), place.bucket.contents(), company.guest
    answer = operate("purge-user", user=guest.id)
    assert (answer["found"], answer["done"]) == (True, True)
    each = ("video_view_log", "video_progress", "viewer_presence", "refresh_token", "rating", "user")
    assert answer["rows"] == dict.fromkeys(each, 1)
    after = place.rows()
    for table, rows in before.items():
        left = {
            text
            for text in rows
            if (row := json.loads(text)).get("user_id") != guest.id
            and not (table == "user" and row["seq"] == guest.id)
            and not (table == "activity_total" and (row["kind"], row["subject"]) == ("user", guest.id))
        }
        if table == "album":  # what it made stays, and forgets it
            left = {text.replace(f'"made_by": {guest.id}', '"made_by": null') for text in left}
        assert set(after[table]) == left, table
    assert place.bucket.contents() == files
    check_points(place)
    assert company.admin.me()["point"] == 10
    again = operate("purge-user", user=guest.id)
    assert (again["found"], again["rows"], again["done"]) == (False, {}, True)
    expect(company.admin.call("POST", "/v1/users", {"email": guest.email, "password": PASSWORD}), 201)


def test_the_last_admin_is_not_purged_but_with_its_corporation(place: Place) -> None:
    company = place.populated()
    before = place.rows()
    assert "last admin" in operate("purge-user", user=company.admin.id)["refused"]
    assert place.rows() == before
    second = add_member(company.admin, "admin")
    assert operate("purge-user", user=company.admin.id)["done"]
    assert second.me()["role"] == "admin"
    assert company.admin.call("DELETE", f"/v1/corporations/{company.id}").status_code == 401
    assert second.call("DELETE", f"/v1/corporations/{company.id}").status_code == 204
    assert operate("purge-user", user=second.id)["done"]  # a deleted corporation needs no admin


def test_a_purge_answers_when_its_time_is_over_and_goes_on(place: Place) -> None:
    company = place.populated()
    little = context()
    total: Counter[str] = Counter()
    for calls in itertools.count(1):
        left = iter([60_000] * (calls * 2) + [10_000] * 1000)
        little.get_remaining_time_in_millis = lambda left=left: next(left)
        event = {"action": "purge-corporation", "corporation": company.id, "yes": True}
        answer = load("operator").lambda_handler(event, little)
        total.update({**answer["rows"], "objects": answer["objects"]})
        if answer["done"]:
            break
        problem(company.admin.get("/v1/auth/me"), 401, "unauthenticated")  # from the first call on
    assert calls > 3
    assert (total["user"], total["corporation"], total["objects"]) == (3, 1, 6)


# Ends itself, as a kill -9 does, before the step of this number: a statement, or a call of S3.
KILLED = """
import itertools, os, signal, sys
from vms import database
from vms.operator import bucket, purge
steps, last = itertools.count(1), int(sys.argv[2])
def counted(work):
    def step(*arguments):
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments)
    return step
purge.BATCH = 2
database.fetch_all = counted(database.fetch_all)
bucket._delete_versions = counted(bucket._delete_versions)
bucket._abort_uploads = counted(bucket._abort_uploads)
purged = purge.corporation(int(sys.argv[1]), lambda: False)
assert purged.done
print(sum(purged.rows.values()), purged.objects)
"""


# The steps that read the schema and close the corporation.
CLOSED = 5


def purging(place: Place, company: Company, last: int = 0) -> "subprocess.Popen[str]":
    """A process that purges the company, or dies before its step `last`."""
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(company.id), str(last)],
        cwd=ROOT,
        env=environments.of_child(**place.environment),
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_purge_that_is_killed_anywhere_goes_on_at_the_next_call(place: Place) -> None:
    neighbour, company = place.populated(), place.populated()
    before, files = place.rows(), place.bucket.contents()
    own = of_company(before, company, users_of(place, company))
    deaths = 0
    for last in itertools.count(1, 3):
        process = purging(place, company, last)
        process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -9
        deaths += 1
        if last > CLOSED:
            problem(company.admin.get("/v1/auth/me"), 401, "unauthenticated")
    assert deaths >= 5
    assert place.rows() == {table: rows - own[table] for table, rows in before.items()}
    assert place.bucket.contents() == {each for each in files if f"/{company.id}/" not in each[0]}
    assert neighbour.admin.me()["point"] == 10


def test_two_purges_at_once_delete_each_row_once(place: Place) -> None:
    company = place.populated()
    videos = [company.video(file_path="film.mp4") for _ in range(20)]
    for video in videos:
        expect(company.guest.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    company.videos += videos
    before = place.rows()
    own = of_company(before, company, users_of(place, company))
    both = [purging(place, company), purging(place, company)]
    told = [process.communicate(timeout=120)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    deleted = sum(
        rows.total() for table, rows in own.items() if table != "activity_total"
    )  # whose rows a trigger deletes
    assert sum(int(rows) for rows, _ in told) == deleted
    assert place.rows() == {table: rows - own[table] for table, rows in before.items()}


def test_a_purge_waits_for_a_request_that_is_in_its_way(place: Place) -> None:
    company = place.populated()
    with psycopg.connect(of_database_url(place)) as other:
        other.execute('SELECT seq FROM "user" WHERE seq = %s FOR NO KEY UPDATE', (company.guest.id,))
        process = purging(place, company)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while place.stage.value(waiting) == 0:
            assert process.poll() is None
        other.execute(
            """INSERT INTO refresh_token (token, user_id, family, expired_at)
            VALUES (%s, %s, gen_random_uuid(), now() + interval '1 day')""",
            (unique("t").ljust(64, "0")[:64], company.guest.id),
        )
        other.commit()
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert users_of(place, company) == set()


def of_database_url(place: Place) -> str:
    return place.environment["DATABASE_URL"]


# What a request that began before the purge leaves behind after its table was emptied.
LATECOMERS: dict[str, tuple[str, Callable[[Company, Person], tuple[object, ...]]]] = {
    "a sign-in": (
        """INSERT INTO refresh_token (token, user_id, family, expired_at)
        VALUES (%s, %s, gen_random_uuid(), now() + interval '1 day')""",
        lambda _, guest: (unique("t").ljust(64, "0")[:64], guest.id),
    ),
    "a stream": (
        "INSERT INTO stream_lease (user_id, slot, expires_at) VALUES (%s, 9, now())",
        lambda _, guest: (guest.id,),
    ),
    "a view": (
        "INSERT INTO video_view_log (user_id, video_id) VALUES (%s, %s)",
        lambda company, guest: (guest.id, company.videos[-1]),
    ),
}


@pytest.mark.parametrize("late", LATECOMERS)
def test_a_row_that_comes_after_its_table_was_emptied_goes_too(
    place: Place, late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = place.populated()
    company.videos.append(company.video())
    statement, given = LATECOMERS[late]
    came: list[str] = []

    def delete(schema: Any, table: str, *more: Any) -> bool:
        if table == "user" and not came:
            came.append(late)
            place.stage.own.execute(statement, given(company, company.guest))
        return deleting(schema, table, *more)

    deleting = purge._delete
    monkeypatch.setattr(purge, "_delete", delete)
    assert operate("purge-corporation", corporation=company.id)["done"]
    assert came
    rows = of_company(place.rows(), company, {company.guest.id, company.admin.id})
    assert not [table for table, found in rows.items() if found]


def test_an_upload_that_ends_beside_a_purge_leaves_no_object(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    company = place.populated()
    key = f"corporations/{company.id}/late.mp4"
    done: list[str] = []

    def delete(schema: Any, table: str, *more: Any) -> bool:
        if not done:
            done.append(key)
            place.bucket.client.put_object(Bucket=place.bucket.name, Key=key, Body=b"late")
        return deleting(schema, table, *more)

    deleting = purge._delete
    monkeypatch.setattr(purge, "_delete", delete)
    assert operate("purge-corporation", corporation=company.id)["done"]
    assert not [each for each in place.bucket.contents() if each[0].startswith(f"corporations/{company.id}/")]


def test_a_bucket_that_fails_stops_a_purge_which_the_next_call_ends(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = place.populated()
    monkeypatch.setenv("VIDEO_BUCKET", "there-is-none")
    forget()
    assert "NoSuchBucket" in operate("purge-corporation", corporation=company.id)["refused"]
    assert users_of(place, company)  # rows go after the files: what is left can still be found
    monkeypatch.undo()
    forget()
    assert operate("purge-corporation", corporation=company.id)["done"]


def test_a_folder_of_more_than_a_page_is_emptied(place: Place) -> None:
    prefix = folder(2**62)
    for number in range(1005):
        place.bucket.client.put_object(Bucket=place.bucket.name, Key=f"{prefix}{number}", Body=b"")
    emptied = bucket.empty(prefix, lambda: False)
    assert (emptied.objects, emptied.done) == (1005, True)
