"""The leases of large streams: limited for each user, ended by release or expiry, and none for small answers."""

import pytest

from tests.e2e.clients import Company, Person, add_member, expect, problem
from tests.e2e.films import put
from tests.service import Services, forget
from vms import database
from vms.auth import Caller, Who
from vms.domain import streams
from vms.errors import TooManyStreams, Unauthenticated

MIB = 1024 * 1024


def caller_of(person: Person) -> Caller:
    return Caller(person.id, person.corporation_id, Who.MEMBER)


def held(person: Person) -> int:
    row = database.fetch_one(
        "SELECT count(*) AS held FROM stream_lease WHERE user_id = %(id)s AND expires_at > now()", {"id": person.id}
    )
    assert row is not None
    return int(row["held"])


@pytest.fixture
def viewer(acme: Company) -> Person:
    return add_member(acme.admin)


def test_a_user_has_so_many_leases_and_another_user_its_own(acme: Company, viewer: Person) -> None:
    caller = caller_of(viewer)
    leases = [streams.acquire(caller, 3, 60) for _ in range(3)]
    assert len(set(leases)) == 3
    with pytest.raises(TooManyStreams):
        streams.acquire(caller, 3, 60)
    another = caller_of(add_member(acme.admin))
    streams.release(another, leases[0])  # not its own: nothing happens
    streams.release(another, streams.acquire(another, 3, 60))
    assert held(viewer) == 3
    streams.release(caller, leases[1])
    assert streams.acquire(caller, 3, 60) not in leases


def test_a_lease_that_nobody_releases_ends_by_itself_and_is_forgotten(viewer: Person) -> None:
    caller = caller_of(viewer)
    lost = streams.acquire(caller, 1, 0)
    kept = streams.acquire(caller, 1, 60)
    streams.release(caller, lost)  # of a slot that another stream has taken since
    assert held(viewer) == 1
    streams.release(caller, kept)
    streams.acquire(caller, 1, 0)
    assert streams.purge() >= 1
    assert database.fetch_one("SELECT 1 FROM stream_lease WHERE user_id = %(id)s", {"id": viewer.id}) is None


def test_a_deleted_user_gets_no_lease_and_may_still_release_its_own(acme: Company, viewer: Person) -> None:
    caller = caller_of(viewer)
    lease = streams.acquire(caller, 1, 60)
    expect(acme.admin.call("DELETE", f"/v1/users/{viewer.id}"), 204)
    with pytest.raises(Unauthenticated):
        streams.acquire(caller, 1, 60)
    streams.release(caller, lease)
    assert held(viewer) == 0


def test_a_database_that_is_gone_does_not_keep_a_stream_from_ending(
    viewer: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caller = caller_of(viewer)
    lease = streams.acquire(caller, 1, 60)
    with monkeypatch.context() as patch:
        patch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        database.close()
        forget()
        streams.release(caller, lease)
    database.close()
    forget()
    assert "ends by itself" in caplog.text
    assert held(viewer) == 1


def test_only_a_large_stream_writes_and_what_is_small_is_read_only(
    acme: Company, services: Services, viewer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = bytes(7 * MIB)
    path = f"/v1/videos/stream/{acme.video(file_path=put(services.storage, acme, body))}"
    assert viewer.get(path, headers={"Range": "bytes=0-9"}).status_code == 206  # grants the points
    database.connection().execute("SET default_transaction_read_only = on")
    try:
        assert viewer.get(path, headers={"Range": f"bytes=0-{6 * MIB - 1}"}).status_code == 206
        problem(viewer.get(path), 503, "unavailable")  # the lease cannot be written
        monkeypatch.setenv("STREAMS_PER_USER", "0")
        forget()
        database.connection().execute("SET default_transaction_read_only = on")
        assert viewer.get(path).content == body
    finally:
        database.close()
        monkeypatch.undo()
        forget()
    assert viewer.get(path).content == body
    assert held(viewer) == 0


def test_a_stream_above_the_cap_is_429_and_grants_nothing(acme: Company, services: Services, viewer: Person) -> None:
    path = f"/v1/videos/stream/{acme.video(file_path=put(services.storage, acme, bytes(7 * MIB)))}"
    leases = [streams.acquire(caller_of(viewer), 16, 60) for _ in range(16)]
    assert int(viewer.get(path).headers["Retry-After"]) > 0
    problem(viewer.get(path), 429, "too-many-streams")
    assert viewer.call("HEAD", path).status_code == 200
    assert viewer.me()["point"] == 0
    streams.release(caller_of(viewer), leases[0])
    assert viewer.get(path).status_code == 200
    assert viewer.me()["point"] == 10
