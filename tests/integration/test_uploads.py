"""Uploads under crashes, races, faults and time: one video or none, and nothing left in S3."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.s3 import S3
from tests import environment as environments
from tests.e2e.clients import Company, Person, expect, found_company, problem
from tests.e2e.films import FILM
from tests.e2e.senders import MIB, begin, complete, film_of, padded, send, sent, urls
from tests.e2e.test_uploads import in_s3
from tests.in_process import context, event, load
from tests.integration.test_races import once_blocked
from tests.service import Services
from vms import multipart
from vms.auth import Caller, Who
from vms.errors import Unavailable
from vms.paths import object_key

pytestmark = pytest.mark.usefixtures("environment")

WHOLE = padded(17 * MIB)
NO_FILM = b"no film " * 1000
# More steps than a request has.
MOST = 30

type Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def company(http: httpx.Client) -> Company:
    return found_company(http)


@pytest.fixture
def bucket(services: Services) -> S3:
    return services.storage


@pytest.fixture
def own(services: Services) -> Iterator[Connection]:
    """A superuser's look at the database."""
    url = make_conninfo(services.database.superuser_url, dbname=conninfo_to_dict(services.database.url)["dbname"])
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def other(services: Services) -> Iterator[Connection]:
    """Another execution environment's connection, with a transaction open."""
    with psycopg.connect(services.database.url) as connection:
        yield connection
        connection.rollback()


def run_job() -> dict[str, int]:
    done: dict[str, int] = load("plan_expiry").lambda_handler({}, context())
    return done


def left(own: Connection, company: Company) -> int:
    """How many uploads of the company may have left something in S3."""
    row = own.execute("SELECT count(*) FROM upload WHERE corporation_id = %s AND leftover", (company.id,)).fetchone()
    assert row is not None
    return int(row[0])


def settle(own: Connection, company: Company) -> None:
    """Let the time pass after which nothing of an ended upload is on its way any more."""
    later = "UPDATE upload SET updated_at = updated_at - interval '1 hour' WHERE corporation_id = %s"
    own.execute(later, (company.id,))


def kill_after(step: int, sender: Person, method: str, path: str) -> bool:
    """Send a request to a process that is killed after this step; False if it has fewer steps."""
    asked = event(httpx.Request(method, f"http://localhost{path}", headers=sender.headers))
    done = subprocess.run(
        [sys.executable, "-m", "tests.killed_at", "uploads", str(step)],
        input=json.dumps(asked).encode(),
        env=environments.of_child(**CHILD),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, -9}, done.stderr
    return done.returncode == -9


CHILD: dict[str, str] = {}


@pytest.fixture(autouse=True)
def child_environment(environment: dict[str, str]) -> None:
    CHILD.update(environment)


def test_a_completion_that_is_killed_after_any_step_is_repaired_by_the_next(
    company: Company, bucket: S3, own: Connection
) -> None:
    steps = 0
    while steps < MOST:
        upload = sent(company.admin, FILM)
        if not kill_after(steps + 1, company.admin, "POST", f"/v1/uploads/{upload['id']}/complete"):
            break
        steps += 1
        answer = complete(company.admin, upload)
        assert answer.status_code in {200, 201}, answer.text
        video = answer.json()
        assert company.guest.get(f"/v1/videos/stream/{video['id']}").content == FILM
        assert expect(complete(company.admin, upload), 200) == expect(
            company.admin.get(f"/v1/videos/id/{video['id']}"), 200
        )
    assert 6 <= steps < MOST
    made = own.execute("SELECT count(*) FROM video WHERE corporation_id = %s", (company.id,)).fetchone()
    assert made == (steps + 1,)
    objects, uploads = in_s3(bucket, company)
    assert (len(objects), uploads) == (steps + 1, [])


def test_a_replacement_that_is_killed_after_any_step_leaves_one_file(
    company: Company, bucket: S3, own: Connection
) -> None:
    video, steps = film_of(company.admin, FILM), 0
    while steps < MOST:
        upload = sent(company.admin, FILM, video_id=video["id"])
        if not kill_after(steps + 1, company.admin, "POST", f"/v1/uploads/{upload['id']}/complete"):
            break
        steps += 1
        assert complete(company.admin, upload).status_code in {200, 201}
    assert 7 <= steps < MOST
    settle(own, company)
    run_job()
    now = expect(company.admin.get(f"/v1/videos/id/{video['id']}"), 200)
    assert in_s3(bucket, company) == ([object_key(company.id, now["file_path"])], [])
    assert left(own, company) == 0
    used = own.execute("SELECT videos, bytes FROM quota_used(%s, true)", (company.id,)).fetchone()
    assert used == (1, len(FILM))


@pytest.mark.parametrize(("body", "method", "ending"), [(FILM, "DELETE", ""), (NO_FILM, "POST", "/complete")])
def test_an_end_that_is_killed_after_any_step_leaves_nothing(
    company: Company, bucket: S3, own: Connection, body: bytes, method: str, ending: str
) -> None:
    steps, ids = 0, []
    while steps < MOST:
        upload = sent(company.admin, body)
        ids.append(upload["id"])
        if not kill_after(steps + 1, company.admin, method, f"/v1/uploads/{upload['id']}{ending}"):
            break
        steps += 1
        if steps % 2:  # the caller asks again, or never comes back
            company.admin.call(method, f"/v1/uploads/{upload['id']}{ending}")
    assert 3 <= steps < MOST
    own.execute("UPDATE upload SET expires_at = now() WHERE corporation_id = %s", (company.id,))
    run_job()
    settle(own, company)
    run_job()
    assert in_s3(bucket, company) == ([], [])
    assert left(own, company) == 0
    states = {expect(company.admin.get(f"/v1/uploads/{each}"), 200)["status"] for each in ids}
    assert states <= {"aborted", "expired"}
    assert own.execute("SELECT videos, bytes FROM quota_used(%s, true)", (company.id,)).fetchone() == (0, 0)


def test_a_first_part_that_is_signed_by_a_killed_process_leaves_no_upload_behind(
    company: Company, bucket: S3, own: Connection
) -> None:
    upload = begin(company.admin, len(FILM))
    key = object_key(company.id, path_of(own, upload))
    multipart.begin(key)  # its id is lost
    send(company.admin, upload, FILM)
    assert len(in_s3(bucket, company)[1]) == 2
    assert company.admin.call("DELETE", f"/v1/uploads/{upload['id']}").status_code == 204
    assert in_s3(bucket, company) == ([], [])


def test_of_first_parts_that_are_signed_at_once_one_begins_the_upload_in_s3(
    company: Company, bucket: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, begun = begin(company.admin, len(FILM)), multipart.begin

    def begin_second(key: str) -> str:
        monkeypatch.setattr(multipart, "begin", begun)
        send(company.admin, upload, FILM)
        return begun(key)

    monkeypatch.setattr(multipart, "begin", begin_second)
    urls(company.admin, upload, [1])
    assert len(in_s3(bucket, company)[1]) == 1
    expect(complete(company.admin, upload), 201)
    objects, uploads = in_s3(bucket, company)
    assert (len(objects), uploads) == (1, [])


def path_of(own: Connection, upload: dict[str, Any]) -> str:
    row = own.execute("SELECT file_path FROM upload WHERE seq = %s", (upload["id"],)).fetchone()
    assert row is not None
    return str(row[0])


def test_an_upload_expires_and_its_parts_go_even_those_that_come_late(
    company: Company, bucket: S3, own: Connection
) -> None:
    upload = begin(company.admin, len(WHOLE))
    send(company.admin, upload, WHOLE, [1, 2])
    own.execute("UPDATE upload SET expires_at = now() WHERE seq = %s", (upload["id"],))
    assert expect(company.admin.get(f"/v1/uploads/{upload['id']}"), 200)["status"] == "expired"
    body = {"numbers": [3]}
    problem(company.admin.call("POST", f"/v1/uploads/{upload['id']}/parts", body), 409, "upload-ended")
    problem(complete(company.admin, upload), 409, "upload-ended")
    assert run_job()["uploads_expired"] >= 1
    assert in_s3(bucket, company) == ([], [])
    assert left(own, company) == 1
    # What was on its way when the job ran: an upload that began, and an object.
    late = multipart.begin(object_key(company.id, path_of(own, upload)))
    assert late
    assert bucket.request("PUT", object_key(company.id, path_of(own, upload)), b"late").status == 200
    settle(own, company)
    run_job()
    assert in_s3(bucket, company) == ([], [])
    assert left(own, company) == 0
    assert expect(company.admin.get(f"/v1/uploads/{upload['id']}"), 200)["status"] == "expired"
    own.execute("UPDATE upload SET updated_at = now() - interval '31 days' WHERE seq = %s", (upload["id"],))
    run_job()
    problem(company.admin.get(f"/v1/uploads/{upload['id']}"), 404, "not-found")


def test_the_job_goes_on_where_s3_fails(
    company: Company, bucket: S3, own: Connection, setting: Callable[[str, str], None]
) -> None:
    upload = sent(company.admin, FILM)
    own.execute("UPDATE upload SET expires_at = now() WHERE seq = %s", (upload["id"],))
    settle(own, company)
    setting("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert run_job()["uploads_expired"] >= 1
    assert left(own, company) == 1
    setting("AWS_ENDPOINT_URL_S3", bucket.endpoint)
    settle(own, company)
    run_job()
    assert in_s3(bucket, company) == ([], [])
    assert left(own, company) == 0


def test_a_part_of_the_job_that_fails_keeps_no_other_from_its_work(company: Company, own: Connection) -> None:
    upload = begin(company.admin, 5)
    own.execute("UPDATE upload SET expires_at = now() WHERE seq = %s", (upload["id"],))
    with own.transaction():
        own.execute("LOCK TABLE activity IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            run_job()
    status = own.execute("SELECT status FROM upload WHERE seq = %s", (upload["id"],)).fetchone()
    assert status == ("expired",)
    assert run_job()["uploads_expired"] == 0


def test_while_s3_fails_nothing_is_lost(company: Company, bucket: S3, setting: Callable[[str, str], None]) -> None:
    upload = sent(company.admin, FILM)
    setting("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    problem(complete(company.admin, upload), 502, "storage-failed")
    problem(company.admin.get(f"/v1/uploads/{upload['id']}"), 502, "storage-failed")
    setting("AWS_ENDPOINT_URL_S3", bucket.endpoint)
    expect(complete(company.admin, upload), 201)


def test_a_completion_that_meets_an_abort_makes_no_video_and_leaves_no_object(
    company: Company, bucket: S3, own: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The abort comes after S3 has put the parts together and before the row is changed."""
    upload, probed = sent(company.admin, FILM), load("uploads").completion.probe

    def probe(*arguments: Any) -> Any:
        film = probed(*arguments)
        own.execute("UPDATE upload SET status = 'aborted', leftover = true WHERE seq = %s", (upload["id"],))
        return film

    monkeypatch.setattr(load("uploads").completion, "probe", probe)
    problem(complete(company.admin, upload), 409, "upload-ended")
    assert in_s3(bucket, company) == ([], [])
    assert own.execute("SELECT count(*) FROM video WHERE corporation_id = %s", (company.id,)).fetchone() == (0,)


def test_a_part_that_s3_has_no_more_as_it_was_listed_makes_no_video_until_the_next_completion(
    company: Company, bucket: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, put_together = sent(company.admin, FILM), multipart.complete

    def listed_before(key: str, s3_id: str, listed: list[multipart.Part]) -> None:
        put_together(key, s3_id, [replace(part, etag=f'"{"0" * 32}"') for part in listed])

    with monkeypatch.context() as patch:
        patch.setattr(multipart, "complete", listed_before)
        refusal = problem(complete(company.admin, upload), 409, "upload-incomplete")
    assert "send them again" in refusal["detail"]
    expect(complete(company.admin, upload), 201)
    objects, uploads = in_s3(bucket, company)
    assert (len(objects), uploads) == (1, [])


def test_two_replacements_of_one_video_leave_the_last_file_alone(
    company: Company, bucket: S3, own: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is completed between the first one's look at its film and its row."""
    video = film_of(company.admin, FILM)
    first, second = (sent(company.admin, body, video_id=video["id"]) for body in (FILM, WHOLE))
    completion = load("uploads").completion
    probed, inner = completion.probe, list[object]()

    def probe(*arguments: Any) -> Any:
        film = probed(*arguments)
        if not inner:
            inner.append(1)
            inner.append(completion.complete(Caller(company.admin.id, company.id, Who.ADMIN), second["id"])[1])
        return film

    monkeypatch.setattr(completion, "probe", probe)
    expect(complete(company.admin, first), 201)
    assert inner == [1, True]
    now = expect(company.admin.get(f"/v1/videos/id/{video['id']}"), 200)
    assert now["size"] == len(FILM)
    assert in_s3(bucket, company) == ([object_key(company.id, now["file_path"])], [])


def test_a_replaced_file_stays_while_another_video_has_it_or_if_it_came_by_own_means(
    company: Company, bucket: S3, own: Connection
) -> None:
    video = film_of(company.admin, FILM)
    company.video(file_path=video["file_path"])
    film_of(company.admin, WHOLE, video_id=video["id"])
    assert object_key(company.id, video["file_path"]) in in_s3(bucket, company)[0]
    used = own.execute("SELECT videos, bytes FROM quota_used(%s, true)", (company.id,)).fetchone()
    assert used == (2, len(FILM) + len(WHOLE))
    path = "uploads/by-own-means.mp4"
    assert bucket.request("PUT", object_key(company.id, path), FILM).status == 200
    mine = company.video(file_path=path)
    film_of(company.admin, FILM, video_id=mine)
    assert object_key(company.id, path) in in_s3(bucket, company)[0]


def test_two_at_once_cannot_both_take_the_last_place(
    company: Company, other: Connection, own: Connection, setting: Callable[[str, str], None]
) -> None:
    """The first has the corporation's lock and has not committed when the second comes."""
    setting("QUOTA_PAID_BYTES", "100")
    setting("QUOTA_PAID_VIDEOS", "2")
    takes_bytes = """INSERT INTO upload (corporation_id, replaces, file_name, file_path, size, part_size, expires_at)
        VALUES (%s, false, 'x', gen_random_uuid()::text, 60, 60, now() + interval '1 day')"""
    for wanted, fits in (({"file_name": "x", "size": 41}, False), ({"file_name": "x", "size": 40}, True)):
        other.execute("SELECT seq FROM corporation WHERE seq = %s FOR NO KEY UPDATE", (company.id,))
        if not fits:
            other.execute(takes_bytes, (company.id,))
        with once_blocked(own, other.commit):
            answer = company.admin.call("POST", "/v1/uploads", wanted)
        assert answer.status_code == (201 if fits else 403), answer.text
    # Both places are taken now: by two open uploads.
    problem(company.admin.call("POST", "/v1/videos", {"name": "x", "file_path": "x"}), 403, "quota-exceeded")


def test_of_videos_at_once_no_more_than_the_plan_has_room_for(
    company: Company, other: Connection, own: Connection, setting: Callable[[str, str], None]
) -> None:
    setting("QUOTA_PAID_VIDEOS", "1")
    other.execute("SELECT seq FROM corporation WHERE seq = %s FOR NO KEY UPDATE", (company.id,))
    other.execute("INSERT INTO video (name, file_path, corporation_id) VALUES ('x', 'x', %s)", (company.id,))
    with once_blocked(own, other.commit):
        answer = company.admin.call("POST", "/v1/videos", {"name": "x", "file_path": "x"})
    refusal = problem(answer, 403, "quota-exceeded")
    assert "0 of its 1 videos" in refusal["detail"]


def test_deleted_videos_count_while_they_can_be_restored(
    http: httpx.Client, own: Connection, setting: Callable[[str, str], None]
) -> None:
    setting("QUOTA_PAID_VIDEOS", "1")
    setting("QUOTA_FREE_VIDEOS", "1")
    body = {"name": "x", "file_path": "x"}
    for plan, status in (("PAID", 403), ("FREE", 201)):
        company = found_company(http, plan)
        video = film_of(company.admin, FILM)
        problem(company.admin.call("POST", "/v1/videos", body), 403, "quota-exceeded")
        assert company.admin.call("DELETE", f"/v1/videos/{video['id']}").status_code == 204
        assert company.admin.call("POST", "/v1/videos", body).status_code == status
        used = own.execute("SELECT bytes FROM quota_used(%s, %s)", (company.id, plan == "PAID")).fetchone()
        assert used == (len(FILM) if plan == "PAID" else 0,)


def test_the_file_of_a_deleted_video_takes_room_again_where_another_video_has_it(
    http: httpx.Client, setting: Callable[[str, str], None]
) -> None:
    setting("QUOTA_FREE_BYTES", str(len(FILM)))
    company = found_company(http, "FREE")
    admin, old = company.admin, film_of(company.admin, FILM)
    assert admin.call("DELETE", f"/v1/videos/{old['id']}").status_code == 204
    new, mine = film_of(admin, FILM), company.video(file_path="own.mp4")  # the bytes were free
    path = {"file_path": old["file_path"]}
    for method, url, body in (("POST", "/v1/videos", {"name": "x", **path}), ("PUT", f"/v1/videos/{mine}", path)):
        assert " 0 of its" in problem(admin.call(method, url, body), 403, "quota-exceeded")["detail"]
    assert expect(admin.get(f"/v1/videos/id/{mine}"), 200)["file_path"] == "own.mp4"
    expect(admin.call("PUT", f"/v1/videos/{new['id']}", {"file_path": "elsewhere.mp4", "name": "y"}), 200)
    assert admin.call("DELETE", f"/v1/videos/{new['id']}").status_code == 204
    expect(admin.call("PUT", f"/v1/videos/{mine}", path), 200)
    expect(admin.call("POST", "/v1/videos", {"name": "x", **path}), 201)  # its bytes are counted already
    problem(admin.call("POST", "/v1/uploads", {"file_name": "x", "size": 1}), 403, "quota-exceeded")


def test_an_upload_takes_no_room_once_its_time_is_over(
    company: Company, own: Connection, setting: Callable[[str, str], None]
) -> None:
    setting("QUOTA_PAID_BYTES", "5")
    setting("QUOTA_PAID_VIDEOS", "1")
    first = begin(company.admin, 5)
    problem(company.admin.call("POST", "/v1/uploads", {"file_name": "x", "size": 5}), 403, "quota-exceeded")
    own.execute("UPDATE upload SET expires_at = now() WHERE seq = %s", (first["id"],))
    begin(company.admin, 5)


def test_a_video_that_is_pointed_elsewhere_frees_no_bytes_and_loses_what_was_known(
    company: Company, own: Connection
) -> None:
    video = film_of(company.admin, FILM)
    renamed = expect(company.admin.call("PUT", f"/v1/videos/{video['id']}", {"name": "renamed"}), 200)
    assert renamed["duration"] == video["duration"]
    moved = expect(company.admin.call("PUT", f"/v1/videos/{video['id']}", {"file_path": "other.mp4"}), 200)
    assert [moved[name] for name in ("size", "duration", "content_type", "browser_playable")] == [None] * 4
    used = own.execute("SELECT bytes FROM quota_used(%s, true)", (company.id,)).fetchone()
    assert used == (len(FILM),)


def test_a_url_does_not_outlive_its_upload(company: Company, own: Connection) -> None:
    upload = begin(company.admin, len(FILM))
    own.execute("UPDATE upload SET expires_at = now() + interval '60 s' WHERE seq = %s", (upload["id"],))
    url = httpx.URL(urls(company.admin, upload, [1])[1])
    assert 1 <= int(url.params["X-Amz-Expires"]) <= 60


SEARCHES = [
    ("first", ["First steps", "THE FIRST"]),
    ("FIRST S", ["First steps"]),
    ("루먼", ["루먼랩 소개"]),
    ("\uff11\uff12", ["Part 12"]),
    ("straße", ["STRASSE"]),
    ("e\u0301te\u0301", ["\u00c9T\u00c9"]),
    ("%", ["100 %"]),
    ("_", []),
    ("nothing", []),
]


@pytest.mark.parametrize(("query", "names"), SEARCHES)
def test_a_search_finds_names_by_a_part_whatever_its_case_and_spelling(
    searched: Company, query: str, names: list[str]
) -> None:
    found = expect(searched.guest.get("/v1/videos", params={"q": query}), 200)["items"]
    assert sorted(each["name"] for each in found) == sorted(names)
    by_id = expect(searched.guest.get(f"/v1/videos/{searched.id}", params={"q": query}), 200)["items"]
    assert by_id == found


@pytest.fixture(scope="module")
def searched(http: httpx.Client) -> Company:
    made = found_company(http)
    for name in dict.fromkeys(name for _, names in SEARCHES for name in names):
        made.video(name)
    return made


def test_a_search_goes_with_pages_and_with_the_deleted(company: Company) -> None:
    ids = [company.video(f"lesson {number}") for number in range(5)]
    company.video("other")
    company.admin.call("DELETE", f"/v1/videos/{ids[0]}")
    seen, cursor = [], None
    while True:
        page = expect(
            company.admin.get(
                "/v1/videos", params={"q": "LESSON", "limit": "2"} | ({"cursor": cursor} if cursor else {})
            ),
            200,
        )
        seen += [each["id"] for each in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ids[:0:-1]
    deleted = expect(company.admin.get("/v1/videos", params={"q": "lesson", "deleted": "true"}), 200)["items"]
    assert [each["id"] for each in deleted] == ids[:1]
    for wrong in ("", " ", "a\u0000b", "x" * 256, "\u202e \u200d"):
        problem(company.admin.get("/v1/videos", params={"q": wrong}), 422, "invalid")
    company.admin.call("PUT", f"/v1/videos/{ids[1]}", {"name": "renamed"})
    assert ids[1] not in [each["id"] for each in expect(company.admin.get("/v1/videos?q=lesson"), 200)["items"]]


def test_a_video_from_before_is_found_by_its_name(company: Company, own: Connection) -> None:
    video = company.video("An Old One")
    own.execute("UPDATE video SET name_key = NULL WHERE seq = %s", (video,))
    assert [each["id"] for each in expect(company.admin.get("/v1/videos?q=OLD"), 200)["items"]] == [video]
