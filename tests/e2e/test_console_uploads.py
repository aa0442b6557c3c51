"""Uploads in the console: over a lost network and a reload, errors at their place, and whose they are."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.chromium import Opens, log_in, needs_browser, visit
from tests.e2e.clients import PASSWORD, Company, found_company
from tests.e2e.films import padded

pytestmark = [pytest.mark.transports("over_http"), needs_browser]

MIB = 1024 * 1024


def choose(page: Page, path: Path) -> Locator:
    page.locator("input[type=file]").set_input_files(path)
    return page.get_by_role("list", name="Uploads").get_by_role("listitem").filter(has_text=path.name)


def test_an_upload_survives_a_lost_network(opens: Opens, tmp_path: Path, acme: Company) -> None:
    company = found_company(acme.admin.http)
    film = tmp_path / "long.mp4"
    film.write_bytes(padded(40 * MIB))
    context = opens()
    page = context.new_page()
    log_in(page, company.admin)
    visit(page, "Upload")
    with page.expect_response(lambda answer: "partNumber=1" in answer.url):
        page.locator("input[type=file]").set_input_files(film)
    context.set_offline(True)
    page.wait_for_timeout(1500)
    context.set_offline(False)
    expect(page.get_by_text("In the library")).to_be_visible()


def test_an_upload_goes_on_after_a_reload_with_the_parts_that_are_missing(
    opens: Opens, tmp_path: Path, acme: Company
) -> None:
    company, film = found_company(acme.admin.http), tmp_path / "film.mp4"
    film.write_bytes(padded(17 * MIB))  # 3 parts
    page = opens().new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    log_in(page, company.admin, keep=True)
    visit(page, "Upload")
    page.route(re.compile("partNumber=[23]&"), lambda route: route.abort("internetdisconnected"))
    with page.expect_response(re.compile("partNumber=1&")):
        row = choose(page, film)
    page.reload()
    page.unroute_all()
    expect(page.get_by_text("it goes on where it stopped")).to_be_visible()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile("partNumber="), hold)
    choose(page, film)
    while len(held) < 2:
        page.wait_for_timeout(50)
    visit(page, "Plan")
    for route in held:
        route.continue_()
    expect(page.get_by_role("status").filter(has_text="film.mp4: In the library")).to_be_visible()
    visit(page, "Upload")
    expect(row).to_contain_text("In the library")
    assert sorted(re.findall("partNumber=([0-9]+)", " ".join(route.request.url for route in held))) == ["2", "3"]


def test_uploads_say_at_their_place_what_is_wrong_and_end_with_their_owners_session(
    opens: Opens, tmp_path: Path, acme: Company
) -> None:
    company, other = found_company(acme.admin.http, plan="FREE"), found_company(acme.admin.http)
    page = opens().new_page()
    log_in(page, company.admin)
    visit(page, "Upload")
    for name, size in {"huge.mp4": 6 << 30, "empty.mp4": 0, "text.mp4": 2000}.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    expect(choose(page, tmp_path / "huge.mp4")).to_contain_text("room for 50 more videos and 5 GB.")
    expect(choose(page, tmp_path / "empty.mp4")).to_contain_text("The file is empty.")
    text = choose(page, tmp_path / "text.mp4")
    expect(text).to_contain_text("This file is not a video.")
    expect(text.get_by_role("button", name="Try again")).to_have_count(0)

    page.route(re.compile("partNumber="), lambda route: route.abort("internetdisconnected"))
    (tmp_path / "sent.mp4").write_bytes(padded(MIB))
    with page.expect_request(re.compile("partNumber=")):
        choose(page, tmp_path / "sent.mp4")
    page.get_by_label(f"Account of {company.admin.email}").click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("E-mail address").fill(other.admin.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    visit(page, "Upload")
    expect(page.get_by_text("Drop videos here")).to_be_visible()
    expect(page.get_by_text(re.compile(r"\.mp4"))).to_have_count(0)
