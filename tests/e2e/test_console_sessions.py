"""Sessions in the console: several tabs, tokens that end, a service that is busy, and people who leave."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.chromium import Opens, go, log_in, needs_browser, until, visit
from tests.e2e.clients import PASSWORD, Company, add_member, found_company, person, unique
from tests.e2e.clients import expect as expect_status
from tests.e2e.films import FILM, bucket_of, put
from tests.runner import Runner
from tests.service import Service

pytestmark = [pytest.mark.transports("over_http"), needs_browser]


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose tokens live for seconds."""
    short = {"ACCESS_TOKEN_SECONDS": "4", "PLAYBACK_TOKEN_SECONDS": "4"}
    with Runner(tmp_path_factory.mktemp("short") / "local", BCRYPT_COST="4", **short) as runner:
        yield Service(runner.url, runner.environment)


@pytest.fixture
def short_lived_company(short_lived: Service) -> Iterator[Company]:
    with httpx.Client(base_url=short_lived.url, timeout=60, trust_env=False) as http:
        yield found_company(http)


def again_once(page: Page, url: str, status: int) -> list[int]:
    """What a busy proxy before the service answers to the first such request. Returns the statuses so far."""
    told: list[int] = []

    def answer(route: Route) -> None:
        told.append(status)
        if len(told) == 1:
            route.fulfill(status=status, headers={"Retry-After": "1"}, body="busy")
        else:
            route.continue_()

    page.route(url, answer)
    return told


def test_two_tabs_and_a_pause_outlive_their_tokens(
    opens: Opens, short_lived: Service, short_lived_company: Company
) -> None:
    """Tokens of seconds: both tabs renew at once and stay logged in; a film goes on with a new URL, played or paused;
    who logs out in one tab does so in both."""
    company = short_lived_company
    film = company.video(file_path=put(bucket_of(short_lived.environment), company, FILM))
    context = opens(short_lived.url)
    first, second = context.new_page(), context.new_page()
    log_in(first, company.guest, keep=True)
    second.goto("console")
    expect(second.get_by_role("heading", name="Library")).to_be_visible()
    go(first, f"watch/{film}")
    until(first, "document.querySelector('video')?.readyState >= 2")
    first.evaluate("const v = document.querySelector('video'); v.playbackRate = 1.5; v.play().catch(() => 0)")
    until(first, "document.querySelector('video').currentTime > 7")
    assert first.evaluate("document.querySelector('video').playbackRate") == 1.5
    first.evaluate("document.querySelector('video').pause()")
    first.wait_for_timeout(5000)
    first.evaluate("const v = document.querySelector('video'); v.currentTime = 9; v.play().catch(() => 0)")
    until(first, "document.querySelector('video').currentTime > 10")
    for tab in (first, second):
        visit(tab, "Plan")
    for tab in (first, second):
        expect(tab.get_by_text("PAID plan")).to_be_visible()
    second.get_by_label("Account of").click()
    second.get_by_role("button", name="Log out").click()
    for tab in (first, second):
        expect(tab.get_by_role("heading", name="Welcome back")).to_be_visible()
    context.close()


def test_a_session_that_ended_asks_for_the_password_over_the_page(
    opens: Opens, short_lived: Service, short_lived_company: Company
) -> None:
    admin, email = short_lived_company.admin, f"{unique('new')}@example.com"
    page = opens(short_lived.url).new_page()
    log_in(page, admin)
    visit(page, "Members")
    page.get_by_role("button", name="Add a member").click()
    dialog = page.get_by_role("dialog", name="Add a member")
    dialog.get_by_label("E-mail address").fill(email)
    dialog.get_by_label("Password").fill(PASSWORD)
    expect_status(person(admin.http, admin.email).call("DELETE", f"/v1/tokens/{admin.id}"), 204)
    page.wait_for_timeout(5000)  # the access token ends by itself
    dialog.get_by_role("button", name="Add a member").click()
    over = page.get_by_role("dialog", name="Log in again")
    expect(over.get_by_label("E-mail address")).to_have_value(admin.email)
    expect(over.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("cell", name=email, exact=True)).to_be_visible()


def test_who_logs_out_after_a_pause_ends_the_session_at_the_service_too(
    opens: Opens, short_lived: Service, short_lived_company: Company
) -> None:
    admin, guest = short_lived_company.admin, short_lived_company.guest

    def sessions() -> int:
        told = person(admin.http, admin.email).get(f"/v1/tokens/{guest.id}?limit=100")
        return sum(each["revoked_at"] is None for each in expect_status(told, 200)["items"])

    before = sessions()
    page = opens(short_lived.url).new_page()
    log_in(page, guest)
    assert sessions() == before + 1
    page.wait_for_timeout(5000)  # the access token ends by itself
    page.get_by_label("Account of").click()
    with page.expect_response(lambda answer: answer.url.endswith("/v1/auth/logout") and answer.status == 204):
        page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()
    assert sessions() == before


def test_a_busy_service_is_asked_again_when_it_says_so(opens: Opens, acme: Company) -> None:
    company, email = found_company(acme.admin.http), f"{unique('new')}@example.com"
    context = opens()
    page = context.new_page()
    company.video(name="Before")
    log_in(page, company.admin, keep=True)
    told = again_once(page, "**/v1/videos/*", 429)
    page.get_by_role("button", name="Rename Before").click()
    page.get_by_role("dialog").get_by_label("Name").fill("After")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="After")).to_be_visible()
    assert len(told) == 2
    visit(page, "Members")
    told = again_once(page, "**/v1/users", 503)
    page.get_by_role("button", name="Add a member").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("E-mail address").fill(email)
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Add a member").click()
    expect(page.get_by_text("Trying again in 1 second").last).to_be_visible()  # the first one may still be shown
    expect(page.get_by_role("cell", name=email, exact=True)).to_be_visible()
    assert len(told) == 2
    page.close()
    # Who is kept logged in is not sent to the log-in by it either.
    page = context.new_page()
    told = again_once(page, "**/v1/auth/refresh", 503)
    page.goto("console#/members")
    expect(page.get_by_role("cell", name=email, exact=True)).to_be_visible()
    assert len(told) == 2


def test_one_may_end_ones_account_and_every_tab_hears_of_it(opens: Opens, acme: Company) -> None:
    company = found_company(acme.admin.http)
    context = opens()
    page = context.new_page()
    log_in(page, company.admin)
    go(page, "account")
    page.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("A company keeps at least one admin.")).to_be_visible()
    add_member(company.admin, "admin")
    other = context.new_page()
    other.goto("console")
    expect(other.get_by_role("heading", name="Library")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    for tab in (page, other):
        expect(tab.get_by_role("heading", name="Welcome back")).to_be_visible()


def test_an_admin_who_gives_up_the_role_leaves_the_admins_pages(opens: Opens, acme: Company) -> None:
    company = found_company(acme.admin.http)
    add_member(company.admin, "admin")
    page = opens().new_page()
    log_in(page, company.admin)
    visit(page, "Members")
    page.get_by_role("button", name=f"Role: {company.admin.email}").click()
    page.get_by_role("dialog").get_by_label("Role").select_option("guest")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("For admins only")).to_be_visible()
    expect(page.get_by_role("link", name="Members")).to_have_count(0)
