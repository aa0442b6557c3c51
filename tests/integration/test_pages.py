"""What a page costs: as many pages of the database with 100,000 members of another corporation as without them."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.acts import create_database, staged
from tests.e2e.clients import Company, expect, found_company
from tests.integration.test_uploads import touched
from tests.service import Services
from vms import database

OTHERS = 100_000
OWN = 200


@pytest.fixture
def own(http: httpx.Client, services: Services) -> Iterator["psycopg.Connection[Any]"]:
    """A database of its own, for it is to be large."""
    with staged(http, services, *create_database(services, "pages")) as stage:
        yield stage.own


def fill(own: "psycopg.Connection[Any]", company: Company, members: int) -> None:
    own.execute(
        """INSERT INTO "user" (email, email_key, password, corporation_id)
        SELECT e, e, '-', %s FROM generate_series(1, %s) i, LATERAL (SELECT i || '@' || %s || '.example') AS x (e)""",
        (company.id, members, company.id),
    )
    own.execute('VACUUM ANALYZE "user"')


def test_a_page_of_members_costs_the_same_whatever_others_have(
    own: "psycopg.Connection[Any]", http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    company, rival = found_company(http), found_company(http)
    statements: list[tuple[str, dict[str, object]]] = []
    run = database._run

    def note(sql: Any, given: Any) -> Any:
        statements.append((sql, dict(given)))
        return run(sql, given)

    def costs() -> dict[str, int]:
        found = {}
        for path in ("/v1/users", "/v1/reports/members"):
            statements.clear()
            expect(company.admin.get(path), 200)
            (statement,) = statements
            found[path] = touched(own, *statement)
        return found

    monkeypatch.setattr(database, "_run", note)
    fill(own, company, OWN)
    before = costs()
    fill(own, rival, OTHERS)
    after = costs()
    assert {path for path, pages in after.items() if pages > before[path] + 40} == set(), (before, after)
