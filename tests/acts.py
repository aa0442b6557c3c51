"""Requests that change something once, each with a look at the database that tells how often it happened."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.s3 import S3
from tests.conftest import MIGRATIONS
from tests.e2e.clients import PASSWORD, PIXEL, Company, Person, add_member, expect, found_company, log_in, unique
from tests.e2e.films import FILM, put
from tests.e2e.senders import complete, sent
from tests.service import Services, forget
from vms import database, migrations
from vms.domain import attempts, corporations, rollup, sessions
from vms.errors import Unavailable
from vms.paths import object_key


@dataclass
class Act:
    """A request that changes something once.

    `times` is how often that has happened, by a look at the database; `again` are the statuses of asking once more when
    it is done, besides `status`. With `repeats`, asking again does it again, which does no harm: another session, say.
    """

    call: Callable[[], httpx.Response]
    status: int
    times: "Callable[[], int]"
    again: frozenset[int] = frozenset()
    repeats: bool = False


class Stage:
    """A company with a film in its folder of the bucket, and a connection of one's own to look at the database by."""

    def __init__(self, http: httpx.Client, company: Company, own: "psycopg.Connection[Any]", storage: S3):
        self.http, self.company, self.own, self.storage = http, company, own, storage
        self.film = put(storage, company, b"film")

    def share_film(self, corporation_id: int) -> None:
        """Put the film into another corporation's folder too, under the same path."""
        assert self.storage.request("PUT", object_key(corporation_id, self.film), b"film").status == 200

    def value(self, sql: Any, *values: object) -> int:
        """The one number that a query gives, over the other connection."""
        row = self.own.execute(sql, values).fetchone()
        assert row is not None
        return int(row[0])

    def sessions(self, user: Person) -> int:
        return self.value("SELECT count(*) FROM refresh_token WHERE user_id = %s AND revoked_at IS NULL", user.id)


def create_database(services: Services, name: str) -> tuple[str, str]:
    """A new database with the whole schema: the functions' URL of it, and the superuser's."""
    with psycopg.connect(services.database.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER vms").format(sql.Identifier(name)))
    migrations.apply(of_database(services.database.owner_url, name), MIGRATIONS)
    return of_database(services.database.url, name), make_conninfo(services.database.superuser_url, dbname=name)


def of_database(url: str, name: str) -> str:
    """The URL of another database of the same server, for the same user."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def staged(http: httpx.Client, services: Services, url: str, look: str) -> Iterator[Stage]:
    """The functions of this process use the database at `url`, with a company; `look` is a superuser's connection."""
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(look, autocommit=True) as connection:
        patch.setenv("DATABASE_URL", url)
        forget()
        database.close()
        try:
            company = found_company(http)
            yield Stage(http, company, connection, services.storage)
        finally:
            database.close()
    forget()


def sign_up(stage: Stage) -> Act:
    name = unique("faults")
    body = {"name": name, "admin_email": f"{name}@example.com", "admin_password": PASSWORD}
    query = """SELECT count(*) FROM corporation c JOIN "user" u ON u.corporation_id = c.seq WHERE c.name = %s"""
    return Act(
        lambda: stage.http.post("/v1/corporations", json=body), 201, lambda: stage.value(query, name), frozenset({409})
    )


def change_corporation(stage: Stage) -> Act:
    name, company = unique("faults"), stage.company
    path = f"/v1/corporations/{company.id}"
    query = "SELECT count(*) FROM corporation WHERE name = %s"
    return Act(lambda: company.admin.call("PUT", path, {"name": name}), 200, lambda: stage.value(query, name))


def delete_corporation(stage: Stage) -> Act:
    company = found_company(stage.http)
    company.video()

    def times() -> int:
        gone = stage.value("SELECT count(*) FROM corporation WHERE seq = %s AND deleted_at IS NOT NULL", company.id)
        users = stage.value('SELECT count(*) FROM "user" WHERE corporation_id = %s AND deleted_at IS NULL', company.id)
        videos = stage.value("SELECT count(*) FROM video WHERE corporation_id = %s AND NOT deleted", company.id)
        assert (users, videos) == ((0, 0) if gone else (2, 1))
        assert stage.sessions(company.admin) == (0 if gone else 1)
        return gone

    return Act(lambda: company.admin.call("DELETE", f"/v1/corporations/{company.id}"), 204, times, frozenset({401}))


def add_user(stage: Stage) -> Act:
    email = f"{unique('faults')}@example.com"
    body = {"email": email, "password": PASSWORD}
    query = 'SELECT count(*) FROM "user" WHERE email = %s'
    return Act(
        lambda: stage.company.admin.call("POST", "/v1/users", body),
        201,
        lambda: stage.value(query, email),
        frozenset({409}),
    )


def change_role(stage: Stage) -> Act:
    user = add_member(stage.company.admin)
    query = """SELECT count(*) FROM "user" WHERE seq = %s AND role = 'admin'"""
    return Act(
        lambda: stage.company.admin.call("PUT", f"/v1/users/{user.id}", {"role": "admin"}),
        200,
        lambda: stage.value(query, user.id),
    )


def change_own_password(stage: Stage) -> Act:
    user = add_member(stage.company.admin)
    body = {"password": "another horse 2", "current_password": PASSWORD}

    def times() -> int:
        epoch = stage.value('SELECT epoch FROM "user" WHERE seq = %s', user.id)
        assert stage.sessions(user) == (0 if epoch else 1)
        return epoch

    # Once it is changed, the current password of the same request is the old one.
    return Act(lambda: user.call("PUT", f"/v1/users/{user.id}", body), 200, times, frozenset({422}))


def delete_user(stage: Stage) -> Act:
    user = add_member(stage.company.admin)
    query = 'SELECT count(*) FROM "user" WHERE seq = %s AND deleted_at IS NOT NULL'
    return Act(
        lambda: stage.company.admin.call("DELETE", f"/v1/users/{user.id}"),
        204,
        lambda: stage.value(query, user.id),
        frozenset({404}),
    )


def add_video(stage: Stage) -> Act:
    name = unique("faults")
    body = {"name": name, "file_path": "faults/none.mp4"}
    query = "SELECT count(*) FROM video WHERE name = %s"
    return Act(
        lambda: stage.company.admin.call("POST", "/v1/videos", body),
        201,
        lambda: stage.value(query, name),
        repeats=True,
    )


def begin_upload(stage: Stage) -> Act:
    name = unique("faults")
    body = {"file_name": name, "size": 5}
    query = "SELECT count(*) FROM upload WHERE file_name = %s"
    return Act(
        lambda: stage.company.admin.call("POST", "/v1/uploads", body),
        201,
        lambda: stage.value(query, name),
        repeats=True,
    )


def complete_upload(stage: Stage) -> Act:
    upload = sent(stage.company.admin, FILM, name=unique("faults"))
    query = "SELECT count(*) FROM video WHERE name = %s"
    return Act(
        lambda: complete(stage.company.admin, upload),
        201,
        lambda: stage.value(query, upload["name"]),
        frozenset({200}),
    )


def abort_upload(stage: Stage) -> Act:
    upload = sent(stage.company.admin, FILM)
    query = "SELECT count(*) FROM upload WHERE seq = %s AND status = 'aborted'"
    return Act(
        lambda: stage.company.admin.call("DELETE", f"/v1/uploads/{upload['id']}"),
        204,
        lambda: stage.value(query, upload["id"]),
    )


def change_video(stage: Stage) -> Act:
    name, video = unique("faults"), stage.company.video()
    query = "SELECT count(*) FROM video WHERE name = %s"
    return Act(
        lambda: stage.company.admin.call("PUT", f"/v1/videos/{video}", {"name": name}),
        200,
        lambda: stage.value(query, name),
    )


def delete_video(stage: Stage) -> Act:
    video = stage.company.video()
    query = "SELECT count(*) FROM video WHERE seq = %s AND deleted"
    return Act(
        lambda: stage.company.admin.call("DELETE", f"/v1/videos/{video}"),
        204,
        lambda: stage.value(query, video),
        frozenset({404}),
    )


def restore_video(stage: Stage) -> Act:
    video = stage.company.video()
    expect(stage.company.admin.call("DELETE", f"/v1/videos/{video}"), 204)
    query = "SELECT count(*) FROM video WHERE seq = %s AND NOT deleted"
    return Act(
        lambda: stage.company.admin.call("PUT", f"/v1/videos/{video}/restore"),
        200,
        lambda: stage.value(query, video),
        frozenset({404}),
    )


def stream(stage: Stage, *, logged: bool = False) -> Act:
    user, video = add_member(stage.company.admin), stage.company.video(file_path=stage.film)
    if logged:
        expect(user.call("POST", "/v1/view-logs", {"video_id": video}), 201)

    def times() -> int:
        points = stage.value('SELECT point FROM "user" WHERE seq = %s', user.id)
        logs = stage.value("SELECT coalesce(sum(point), 0) FROM video_view_log WHERE user_id = %s", user.id)
        assert points == logs
        return points // 10

    return Act(lambda: user.get(f"/v1/videos/stream/{video}"), 200, times)


def stream_of_a_logged_view(stage: Stage) -> Act:
    return stream(stage, logged=True)


def log_a_view(stage: Stage) -> Act:
    user, video = add_member(stage.company.admin), stage.company.video()
    query = "SELECT count(*) FROM video_view_log WHERE user_id = %s AND point = 0"
    return Act(
        lambda: user.call("POST", "/v1/view-logs", {"video_id": video}),
        201,
        lambda: stage.value(query, user.id),
        frozenset({200}),
    )


def report_progress(stage: Stage) -> Act:
    user, video = add_member(stage.company.admin), stage.company.video()
    body = {"position": 10, "watched": [[0, 10]]}
    query = "SELECT coalesce(sum(watched_seconds), 0)::integer / 10 FROM video_progress WHERE user_id = %s"
    return Act(lambda: user.call("PUT", f"/v1/videos/{video}/progress", body), 200, lambda: stage.value(query, user.id))


def put_poster(stage: Stage) -> Act:
    video = stage.company.video()
    query = "SELECT count(*) FROM video_poster WHERE video_id = %s"
    path = f"/v1/videos/{video}/poster"
    return Act(lambda: stage.company.admin.call("PUT", path, PIXEL), 200, lambda: stage.value(query, video))


def begin_session(stage: Stage) -> Act:
    user = add_member(stage.company.admin)
    body = {"email": user.email, "password": PASSWORD}
    return Act(
        lambda: stage.http.post("/v1/auth/login", json=body), 200, lambda: stage.sessions(user) - 1, repeats=True
    )


def fail_to_log_in(stage: Stage) -> Act:
    email = f"{unique('nobody')}@example.com"
    body = {"email": email, "password": "wrong password"}
    query = "SELECT coalesce(sum(failures), 0) FROM login_attempt WHERE subject = %s"
    subject = attempts.subject("login", email)
    return Act(
        lambda: stage.http.post("/v1/auth/login", json=body), 401, lambda: stage.value(query, subject), repeats=True
    )


def refresh(stage: Stage) -> Act:
    user = add_member(stage.company.admin)
    body = {"refresh_token": user.tokens["refresh_token"]}

    def call() -> httpx.Response:
        answer = stage.http.post("/v1/auth/refresh", json=body)
        if answer.is_success:  # what was acknowledged is there
            query = "SELECT count(*) FROM refresh_token WHERE user_id = %s AND revoked_at IS NULL"
            assert stage.value(query, user.id) >= 1
        return answer

    query = "SELECT count(*) FROM refresh_token WHERE user_id = %s AND rotated_at IS NOT NULL"
    return Act(call, 200, lambda: stage.value(query, user.id))


def log_out(stage: Stage) -> Act:
    user = add_member(stage.company.admin)
    body = {"refresh_token": user.tokens["refresh_token"]}
    return Act(lambda: user.call("POST", "/v1/auth/logout", body), 204, lambda: 1 - stage.sessions(user))


def log_out_everywhere(stage: Stage) -> Act:
    user = add_member(stage.company.admin)
    log_in(stage.http, user.email)

    def times() -> int:
        epoch = stage.value('SELECT epoch FROM "user" WHERE seq = %s', user.id)
        assert stage.sessions(user) == (0 if epoch else 2)
        return epoch

    return Act(lambda: user.call("DELETE", f"/v1/tokens/{user.id}"), 204, times, repeats=True)


def run_the_schedule(stage: Stage) -> Act:
    company = stage.value(
        """INSERT INTO corporation (name, name_key, plan_type, plan_expired_at)
        VALUES ('due', %s, 'PAID', now() - interval '1 day') RETURNING seq""",
        unique("due"),
    )

    def call() -> httpx.Response:
        try:
            done = {"expired": corporations.expire_plans(), "purged": sessions.purge(), "moved": rollup.roll_up()}
            return httpx.Response(200, json=done)
        except Unavailable as unavailable:  # the scheduler counts a failure, and the next run does it
            body = unavailable.body("the schedule's")
            headers = {**unavailable.headers, "Content-Type": "application/problem+json"}
            return httpx.Response(503, headers=headers, json=body)

    query = "SELECT count(*) FROM corporation WHERE seq = %s AND plan_type = 'FREE'"
    return Act(call, 200, lambda: stage.value(query, company))


ACTS = [
    *(sign_up, change_corporation, delete_corporation, add_user, change_role, change_own_password, delete_user),
    *(add_video, change_video, delete_video, restore_video, stream, stream_of_a_logged_view, log_a_view),
    *(report_progress, put_poster, begin_upload, complete_upload, abort_upload),
    *(begin_session, fail_to_log_in, refresh, log_out, log_out_everywhere, run_the_schedule),
]
