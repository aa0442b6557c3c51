"""The console as people use it: in Chromium, in two languages, with a network that fails, and no error written.

Where no Chromium is, the tests are skipped; where axe-core is not installed (`make document-tools`), those that look
for barriers. Screenshots are kept in .screenshots/.
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chromium import ROOT, Opens, log_in, needs_browser, until, visit
from tests.e2e.clients import PASSWORD, Company, add_member, found_company, unique
from tests.e2e.films import FILM, bucket_of, put
from tests.service import Service

pytestmark = [pytest.mark.transports("over_http"), needs_browser]

AXE = ROOT / ".document-tools" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = ROOT / ".screenshots"


def play_to_the_end(page: Page) -> None:
    """From the start, four times as fast: what is skipped is not watched."""
    start = "v.currentTime = 0; v.playbackRate = 4; v.play().catch(() => 0)"
    page.evaluate(f"const v = document.querySelector('video'); {start}")
    until(page, "document.querySelector('video').ended")


def test_a_company_signs_up_uploads_watches_reports_deletes_and_restores(opens: Opens, tmp_path: Path) -> None:
    page, name = opens().new_page(), unique("Story")
    film = tmp_path / "first-steps.mp4"
    film.write_bytes((ROOT / "tests" / "data" / "dunes.mp4").read_bytes())

    page.goto("console#/signup")
    page.get_by_label("Company name").fill(name)
    page.get_by_label("Your e-mail address").fill(f"{name}@example.com")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_text("At least 8 characters, please.")).to_be_visible()  # and nothing typed is lost
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_text("No videos yet")).to_be_visible()

    visit(page, "Members")
    page.get_by_role("button", name="Add a member").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("E-mail address").fill(f"member-{name}@example.com")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Add a member").click()
    expect(page.get_by_role("cell", name=f"member-{name}@example.com", exact=True)).to_be_visible()

    upload(page, film)
    watch(page)
    report(page)
    delete_and_restore(page)


def upload(page: Page, film: Path) -> None:
    visit(page, "Upload")
    page.locator("input[type=file]").set_input_files(film)
    expect(page.get_by_text("In the library")).to_be_visible()
    visit(page, "Library")
    expect(page.locator(".card img")).to_have_js_property("complete", value=True)  # a frame of the film, as its poster
    expect(page.get_by_text("0:45")).to_be_visible()


def watch(page: Page) -> None:
    page.locator(".card a").first.click()
    until(page, "document.querySelector('video')?.readyState >= 2")
    page.evaluate("document.querySelector('video').play().catch(() => 0)")
    expect(page.get_by_text("+10 points for watching this video")).to_be_visible()
    page.evaluate("const v = document.querySelector('video'); v.currentTime = 20; v.pause()")
    until(page, "!document.querySelector('video').seeking")
    visit(page, "Library")
    expect(page.locator(".card .mark.viewed")).to_be_visible()
    page.locator(".card a").first.click()
    expect(page.get_by_text("Continued at 0:20.")).to_be_visible()
    play_to_the_end(page)
    expect(page.locator(".mark.completed")).to_be_visible()
    expect(page.get_by_text("10 points", exact=True)).to_be_visible()


def report(page: Page) -> None:
    visit(page, "Reports")
    row = page.get_by_role("row").filter(has_text="first-steps")
    expect(row).to_contain_text("10")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV: Videos").click()
    assert download.value.path().read_bytes().startswith("\ufeffvideo_id,name,".encode())


def delete_and_restore(page: Page) -> None:
    visit(page, "Library")
    page.get_by_role("button", name=re.compile("^Delete first-steps")).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("No videos yet")).to_be_visible()
    visit(page, "Recycle bin")
    page.get_by_role("button", name=re.compile("^Restore first-steps")).click()
    expect(page.get_by_text("This needs a PAID plan that has not ended.")).to_be_visible()
    visit(page, "Plan")
    expect(page.get_by_text("FREE plan")).to_be_visible()
    page.get_by_role("button", name="Change to PAID").click()
    expect(page.get_by_text("Paid without an end date.")).to_be_visible()
    visit(page, "Recycle bin")
    page.get_by_role("button", name=re.compile("^Restore first-steps")).click()
    expect(page.get_by_text("is back in the library.")).to_be_visible()
    visit(page, "Library")
    expect(page.locator(".card .mark.completed")).to_be_visible()


def test_a_guest_who_types_an_admins_address_sees_no_admins_page(opens: Opens, acme: Company) -> None:
    page = opens().new_page()
    log_in(page, acme.guest)
    expect(page.get_by_role("link", name="Members")).to_have_count(0)
    for path in ("members", "reports", "upload", "bin"):
        page.goto(f"console#/{path}")
        expect(page.get_by_text("For admins only")).to_be_visible()


@pytest.mark.parametrize(("locale", "title"), [("ko-KR", "라이브러리"), ("en-GB", "Library"), ("fr-FR", "Library")])
def test_the_browsers_language_is_spoken_and_can_be_switched(
    opens: Opens, acme: Company, locale: str, title: str
) -> None:
    page = opens(locale=locale).new_page()
    page.goto("console")
    page.locator("input[type=email]").fill(acme.guest.email)
    page.locator("input[type=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    page.get_by_role("button", name="한국어" if title == "Library" else "English").click()
    expect(page.get_by_role("heading", name="라이브러리" if title == "Library" else "Library")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 360])
def test_no_page_has_a_serious_barrier_or_is_wider_than_the_screen(
    opens: Opens, service: Service, acme: Company, scheme: str, width: int
) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make document-tools")
    company = found_company(acme.admin.http)
    film = company.video(name="A film", file_path=put(bucket_of(service.environment), company, FILM))
    gone = company.video(name="Gone")
    company.admin.call("DELETE", f"/v1/videos/{gone}")
    add_member(company.admin)
    page = opens(color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True).new_page()
    SHOTS.mkdir(exist_ok=True)
    found: dict[str, object] = {}

    def look(name: str) -> None:
        page.wait_for_timeout(700)
        page.add_script_tag(path=AXE)
        violations = page.evaluate("axe.run().then(({violations}) => violations)")
        for each in violations:
            if each["impact"] in {"serious", "critical"}:
                found[f"{name}: {each['id']}"] = [node["html"][:200] for node in each["nodes"]]
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found[f"{name}: width"] = wide
        page.screenshot(path=SHOTS / f"{name}-{scheme}-{width}.png", full_page=True)

    for path in ("login", "signup"):
        page.goto(f"console#/{path}")
        page.reload()
        look(path)
    log_in(page, company.admin)
    for path in ("library", "upload", "members", "reports", "bin", "plan", "account", f"watch/{film}"):
        page.evaluate(f"location.hash = '#/{path}'")
        look(path.partition("/")[0])
    assert found == {}
