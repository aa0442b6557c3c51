"""A stream request that grants nothing any more changes nothing."""

from typing import Any

import psycopg
import pytest

from tests.e2e.clients import Company, add_member
from tests.e2e.films import put
from tests.service import Services

pytestmark = pytest.mark.usefixtures("environment")

RANGES = 1000
ROUNDS = 5


def test_a_repeated_stream_request_is_one_round_trip_and_writes_nothing(
    acme: Company, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the position of the write-ahead log. The server may write on its own (a checkpoint, an autovacuum), so one of
    a few rounds must write nothing."""
    body = bytes(range(256))
    viewer, video = add_member(acme.admin), acme.video(file_path=put(services.storage, acme, body))
    path = f"/v1/videos/stream/{video}"
    assert viewer.get(path).content == body
    assert viewer.me()["point"] == 10
    moved, sent = [], count_statements(monkeypatch)
    with psycopg.connect(services.database.superuser_url, autocommit=True) as connection:
        for _ in range(ROUNDS):
            before = position(connection)
            for number in range(RANGES // ROUNDS):
                sent.clear()
                answer = viewer.get(path, headers={"Range": f"bytes={number}-{number + 9}"})
                assert len(sent) == 1
                assert answer.content == body[number : number + 10]
            moved.append(position(connection) - before)
    assert 0 in moved, moved
    assert viewer.me()["point"] == 10


def count_statements(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every statement sent from here on: each is a round trip."""
    sent: list[object] = []
    execute = psycopg.Connection.execute

    def counting(self: Any, query: Any, *arguments: Any, **more: Any) -> Any:
        sent.append(query)
        return execute(self, query, *arguments, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", counting)
    return sent


def position(connection: "psycopg.Connection[tuple[int]]") -> int:
    """Bytes of write-ahead log since the server was made."""
    row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    return row[0]
