"""What a user of the console counts on: nothing typed is lost, each way back leads back, names are text."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chromium import Opens, go, log_in, needs_browser, until, visit
from tests.e2e.clients import PASSWORD, PIXEL, Company, Person, found_company, unique
from tests.e2e.clients import expect as expect_status
from tests.e2e.films import FILM, bucket_of, put
from tests.service import Service

pytestmark = [pytest.mark.transports("over_http"), needs_browser]

WIDEST = "Ü" * 200


def watch(page: Page, film: int) -> None:
    go(page, f"watch/{film}")
    until(page, "document.querySelector('video')?.readyState >= 2")


def log_in_at(page: Page, address: str, person: Person) -> None:
    page.goto(address)
    page.get_by_label("E-mail address").fill(person.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")


def test_what_was_typed_stays_when_it_is_refused(opens: Opens, acme: Company) -> None:
    company = found_company(acme.admin.http)
    company.video(name="As it was")
    page = opens().new_page()
    page.goto("console")
    page.get_by_label("E-mail address").fill(company.admin.email)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("The e-mail address or the password is wrong.")
    page.get_by_role("button", name="한국어").click()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_label("E-mail address")).to_have_value(company.admin.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()

    page.get_by_role("button", name="Rename As it was").click()
    name = page.get_by_role("dialog").get_by_label("Name")
    name.fill("As it\u202e is")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This has characters that cannot be seen.")).to_be_visible()
    expect(name).to_have_value("As it\u202e is")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Rename As it was")).to_be_focused()

    visit(page, "Members")
    page.get_by_role("button", name=f"Role: {company.admin.email}").click()
    role = page.get_by_role("dialog").get_by_label("Role")
    role.select_option("guest")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("A company keeps at least one admin.")).to_be_visible()
    expect(role).to_have_value("guest")


def test_a_password_is_measured_in_bytes_and_says_so(opens: Opens) -> None:
    page = opens(locale="ko-KR").new_page()
    page.goto("console#/signup")
    page.locator("[name=admin_password]").fill("비밀번호" * 7)  # 28 characters, 84 bytes
    page.get_by_role("button", name="계정 만들기").click()
    expect(page.get_by_text("최대 72바이트")).to_be_visible()


def test_a_link_leads_to_its_page_after_the_log_in_and_no_address_to_an_empty_one(opens: Opens, acme: Company) -> None:
    page = opens().new_page()
    log_in_at(page, "console#/plan", acme.guest)
    expect(page.get_by_role("heading", name="Plan", exact=True)).to_be_visible()
    expect(page).to_have_title("Plan · Video console")
    page.get_by_role("button", name="한국어").click()
    expect(page).to_have_title("요금제 · 비디오 콘솔")
    page.get_by_role("button", name="English").click()
    for path, title in {
        "nothing": "There is no such page",
        "constructor": "There is no such page",
        "__proto__/toString": "There is no such page",
        "watch": "This video is not here",
        "watch/0x10": "This video is not here",
        "watch/999999999": "This video is not here",
    }.items():
        go(page, path)
        expect(page.get_by_role("heading", name=title)).to_be_visible()
        expect(page.get_by_role("link", name="library")).to_be_visible()


def test_back_from_a_film_is_where_one_was_in_the_library(opens: Opens, acme: Company) -> None:
    company = found_company(acme.admin.http)
    for n in range(30):
        company.video(name=f"Film {n:02}")
    page = opens().new_page()
    log_in(page, company.guest)
    page.get_by_role("button", name="Load more").click()
    cards = page.locator(".cards:not([aria-busy]) .card")
    expect(cards).to_have_count(30)
    cards.last.scroll_into_view_if_needed()
    place = page.evaluate("scrollY")
    cards.nth(27).get_by_role("link").click()
    expect(page.get_by_role("heading", name="Film 02")).to_be_visible()
    page.go_back()
    expect(cards).to_have_count(30)
    until(page, f"Math.abs(scrollY - {place}) < 40")
    page.get_by_label("Search by name").fill("Film 2")
    expect(cards).to_have_count(10)
    cards.first.get_by_role("link").click()
    page.go_back()
    expect(page.get_by_label("Search by name")).to_have_value("Film 2")
    expect(cards).to_have_count(10)
    visit(page, "Plan")
    visit(page, "Library")  # not back, but anew
    expect(cards).to_have_count(24)


def test_the_player_takes_keys_without_a_click_and_a_wrong_clock_renews_nothing(
    opens: Opens, service: Service, acme: Company
) -> None:
    film = acme.video(file_path=put(bucket_of(service.environment), acme, FILM))
    context = opens()
    context.add_init_script("const right = Date.now; Date.now = () => right() + 5 * 3600 * 1000")
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/playback") else None)
    log_in(page, acme.guest)
    watch(page, film)
    page.keyboard.press("Space")
    until(page, "document.querySelector('video').currentTime > 2.5")
    page.keyboard.press("m")
    until(page, "document.querySelector('video').muted")
    page.keyboard.press("Space")
    until(page, "document.querySelector('video').paused")
    at = page.evaluate("document.querySelector('video').currentTime")
    page.keyboard.press("ArrowLeft")
    until(page, f"document.querySelector('video').currentTime < {at}")
    assert len(asked) == 1
    # What was watched reaches the service when the tab is closed.
    page.evaluate("document.querySelector('video').currentTime = 7")
    until(page, "!document.querySelector('video').seeking")
    page.close(run_before_unload=True)
    other = context.new_page()
    while acme.guest.get(f"/v1/videos/{film}/progress").json()["position"] != 7:
        other.wait_for_timeout(100)


def test_the_recycle_bin_shows_its_pictures_and_asks_for_nothing_that_is_refused(opens: Opens, acme: Company) -> None:
    company = found_company(acme.admin.http)
    film = company.video(name="With a poster")
    expect_status(company.admin.call("PUT", f"/v1/videos/{film}/poster", PIXEL), 200)
    expect_status(company.admin.call("DELETE", f"/v1/videos/{film}"), 204)
    page = opens().new_page()
    log_in(page, company.admin)
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    visit(page, "Recycle bin")
    expect(page.get_by_role("button", name="Restore With a poster")).to_be_visible()
    expect(page.locator(".row img.poster")).to_have_js_property("naturalWidth", 1)
    page.wait_for_load_state("networkidle")
    assert refused == []


def test_an_address_asks_for_a_film_and_for_nothing_else(opens: Opens, acme: Company) -> None:
    page = opens().new_page()
    log_in(page, acme.admin)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for id_ in ("..\\..\\corporations", "1?q=x", "%2e%2e\\..\\corporations"):
        page.evaluate("at => { location.hash = at; }", f"#/watch/{id_}")
        expect(page.get_by_role("heading", name="This video is not here")).to_be_visible()
        visit(page, "Library")
        expect(page.get_by_role("heading", name="Library")).to_be_visible()
    assert [url for url in asked if "/v1/corporations" in url] == []
    assert len([url for url in asked if "/v1/videos/id/" in url]) == 3


def test_names_are_text_and_as_wide_as_the_screen_at_most(opens: Opens, acme: Company) -> None:
    names = ["<img src=x onerror=alert(1)>", "javascript:alert(1)", "{n|one|many} {name}", "👩‍👩‍👧‍👦 🎬", WIDEST]
    http = acme.admin.http
    email = f"<b>{unique('x')}</b>@example.com"
    body = {"name": unique("<script>"), "plan": "FREE", "admin_email": email, "admin_password": PASSWORD}
    expect_status(http.post("/v1/corporations", json=body), 201)
    company = Company(0, body["name"], Person(http, 0, email, 0, {}), acme.guest)
    tokens = http.post("/v1/auth/login", json={"email": email, "password": PASSWORD}).json()
    company.admin.tokens = tokens
    videos = [company.video(name=name) for name in names]
    page = opens(viewport={"width": 360, "height": 800}).new_page()
    told: list[str] = []
    page.on("dialog", lambda dialog: told.append(dialog.message))
    log_in(page, company.admin)
    for name in names:
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    for path in ("library", "members", "reports", "plan", "account", f"watch/{videos[-1]}"):
        go(page, path)
        expect(page.locator("#main h1, #main h2").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    go(page, "library")
    page.get_by_role("button", name="Delete <img").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="“<img src=x onerror=alert(1)>” is deleted.")).to_be_visible()
    assert told == []
