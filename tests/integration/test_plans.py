"""PLAN_CHANGES: who makes a corporation PAID, any admin of it or the operator alone."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.e2e.clients import PASSWORD, Company, expect, found_company, problem, unique
from tests.service import forget

LATER = "2040-01-01T00:00:00Z"


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets PLAN_CHANGES for one test."""

    def change(value: str) -> None:
        monkeypatch.setenv("PLAN_CHANGES", value)
        forget()

    yield change
    monkeypatch.undo()
    forget()


def body(**more: object) -> dict[str, object]:
    return {"name": unique("c"), "admin_email": f"{unique('a')}@example.com", "admin_password": PASSWORD, **more}


def path(company: Company) -> str:
    return f"/v1/corporations/{company.id}"


def standing(company: Company) -> object:
    return expect(company.guest.get(f"/v1/corporations/id/{company.id}"), 200)


def test_an_admin_changes_its_plan_where_plans_are_its_own(http: httpx.Client, plans: Callable[[str], None]) -> None:
    plans("self")
    assert expect(http.post("/v1/corporations", json=body(plan="PAID", plan_expire_at=LATER)), 201)["plan"] == "PAID"
    company = found_company(http, "FREE")
    assert expect(company.admin.call("PUT", path(company), {"plan": "PAID"}), 200)["plan"] == "PAID"


@pytest.mark.parametrize(
    "asked", [{"plan": "PAID"}, {"plan": "PAID", "plan_expire_at": LATER}, {"plan_expire_at": LATER}], ids=str
)
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}], ids=["plain", "with a key"])
def test_nobody_signs_up_as_paid_where_plans_are_the_operators(
    http: httpx.Client, plans: Callable[[str], None], asked: dict[str, object], key: dict[str, str]
) -> None:
    plans("operator")
    sent = body(**asked)
    key = {name: unique(value) for name, value in key.items()}
    problem(http.post("/v1/corporations", json=sent, headers=key), 403, "plan-managed")
    login = {"email": sent["admin_email"], "password": PASSWORD}
    problem(http.post("/v1/auth/login", json=login), 401, "unauthenticated")
    # Nothing was made and nothing is kept: the same name, address and key go through.
    free = {**sent, "plan": "FREE", "plan_expire_at": None}
    assert expect(http.post("/v1/corporations", json=free, headers=key), 201)["plan"] == "FREE"


def test_a_sign_up_answered_before_plans_were_managed_is_answered_again(
    http: httpx.Client, plans: Callable[[str], None]
) -> None:
    plans("self")
    sent, key = body(plan="PAID"), {"Idempotency-Key": unique("k")}
    first = expect(http.post("/v1/corporations", json=sent, headers=key), 201)
    plans("operator")
    assert expect(http.post("/v1/corporations", json=sent, headers=key), 201) == first


@pytest.mark.parametrize("plan", ["FREE", "PAID"])
@pytest.mark.parametrize(
    "asked",
    [
        {"plan": "PAID"},
        {"plan": "PAID", "plan_expire_at": LATER},
        {"plan_expire_at": LATER},
        {"plan_expire_at": None},
        {"plan": "FREE", "plan_expire_at": None},
        {"plan": "FREE", "plan_expire_at": LATER},
        {"plan": "PAID", "name": "renamed"},
    ],
    ids=str,
)
def test_no_admin_makes_its_plan_paid_or_longer_where_plans_are_the_operators(
    http: httpx.Client, plans: Callable[[str], None], plan: str, asked: dict[str, object]
) -> None:
    company = found_company(http, plan, **({"plan_expire_at": LATER} if plan == "PAID" else {}))
    before = standing(company)
    plans("operator")
    problem(company.admin.call("PUT", path(company), asked), 403, "plan-managed")
    assert standing(company) == before


def test_an_admin_still_renames_and_gives_its_plan_up(http: httpx.Client, plans: Callable[[str], None]) -> None:
    company = found_company(http, plan_expire_at=LATER)
    plans("operator")
    name = unique("renamed")
    renamed = expect(company.admin.call("PUT", path(company), {"name": name}), 200)
    assert (renamed["name"], renamed["plan"], renamed["plan_expire_at"]) == (name, "PAID", LATER)
    free = expect(company.admin.call("PUT", path(company), {"plan": "FREE"}), 200)
    assert (free["plan"], free["plan_expire_at"]) == ("FREE", None)


def test_what_is_wrong_otherwise_is_said_first(
    http: httpx.Client, plans: Callable[[str], None], acme: Company, rival: Company
) -> None:
    plans("operator")
    asked = {"plan": "PAID"}
    problem(acme.admin.call("PUT", path(rival), asked), 404, "not-found")
    problem(acme.guest.call("PUT", path(acme), asked), 403, "forbidden")
    problem(http.put(path(acme), json=asked), 401, "unauthenticated")
