"""What a page costs: as many pages of the database with 100,000 rows of another corporation as without them."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.acts import create_database, staged
from tests.e2e.clients import Company, Person, expect, found_company
from tests.service import Services
from vms import database

OTHERS = 100_000
OWN = 200

type Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def own(http: httpx.Client, services: Services) -> Iterator[Connection]:
    """A database of its own, for it is to be large."""
    with staged(http, services, *create_database(services, "pages")) as stage:
        yield stage.own


@pytest.fixture
def cost(own: Connection, monkeypatch: pytest.MonkeyPatch) -> Callable[[Person, str], int]:
    """How many pages of 8 KB the one statement of a GET reads, in memory or not."""
    statements: list[tuple[str, dict[str, object]]] = []
    run = database._run

    def note(sql: Any, given: Any) -> Any:
        statements.append((sql, dict(given)))
        return run(sql, given)

    def measure(who: Person, path: str) -> int:
        statements.clear()
        expect(who.get(path), 200)
        ((sql, given),) = statements
        row = own.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}".encode(), given).fetchone()
        assert row is not None
        plan = row[0][0]["Plan"]
        return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])

    monkeypatch.setattr(database, "_run", note)
    return measure


def add_members(own: Connection, company: Company, count: int) -> None:
    own.execute(
        """INSERT INTO "user" (email, email_key, password, corporation_id)
        SELECT e, e, '-', %s FROM generate_series(1, %s) i, LATERAL (SELECT i || '@' || %s || '.example') AS x (e)""",
        (company.id, count, company.id),
    )
    own.execute('VACUUM ANALYZE "user"')


def add_videos(own: Connection, company: Company, count: int) -> None:
    own.execute(
        """INSERT INTO video (name, name_key, file_path, corporation_id)
        SELECT 'lesson ' || i, 'lesson ' || i, 'x', %s FROM generate_series(1, %s) AS i""",
        (company.id, count),
    )
    own.execute("VACUUM ANALYZE video")


@pytest.mark.parametrize(
    ("fill", "paths", "more"),
    [
        (add_members, ["/v1/users", "/v1/reports/members"], 40),
        (add_videos, ["/v1/videos", *(f"/v1/videos?q={name}" for name in ("lesson+17", "nothing", "lesson"))], 20),
    ],
)
def test_a_list_and_a_search_cost_the_same_whatever_others_have(
    own: Connection,
    cost: Callable[[Person, str], int],
    http: httpx.Client,
    fill: Callable[[Connection, Company, int], None],
    paths: list[str],
    more: int,
) -> None:
    company, rival = found_company(http), found_company(http)
    fill(own, company, OWN)
    before = {path: cost(company.admin, path) for path in paths}
    fill(own, rival, OTHERS)
    after = {path: cost(company.admin, path) for path in paths}
    assert {path for path in paths if after[path] > before[path] + more} == set(), (before, after)
