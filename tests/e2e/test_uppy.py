"""A client of others: Uppy, in Chromium, on a page of another origin, uploads by the routes as they are.

Uppy is installed by `make document-tools`; where it is not, or no Chromium is, the tests are skipped.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

from tests.e2e.chromium import BROWSER, needs_browser
from tests.e2e.clients import Company, expect, found_company
from tests.e2e.films import padded
from tests.e2e.test_browser import Page
from tests.environment import of_child
from tests.in_process import routes
from tests.service import Service

pytestmark = [
    pytest.mark.transports("over_http"),
    needs_browser,
    pytest.mark.skipif(("POST", "/v1/uploads") not in routes(), reason="the template has no routes of uploads"),
]

TOOLS = Path(__file__).parents[2] / ".document-tools" / "node_modules"
SIZE = 60 * 1024 * 1024
PARTS = 8  # of 8 MiB, the last of which is shorter
STOP_AFTER = 3


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """uppy.js with Uppy inside of it, as a page loads it."""
    esbuild = TOOLS / ".bin" / "esbuild"
    if not esbuild.exists() or not (TOOLS / "@uppy").exists():
        pytest.skip("Uppy is not installed: make document-tools")
    target = tmp_path_factory.mktemp("uppy") / "page.js"
    source = Path(__file__).with_name("uppy.js")
    command = [str(esbuild), str(source), "--bundle", "--log-level=error", f"--outfile={target}"]
    subprocess.run(command, env=of_child(NODE_PATH=str(TOOLS)), check=True, timeout=120)
    return target.read_text("utf-8")


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--mute-audio"])
        yield browser.new_context()
        browser.close()


@pytest.fixture
def company(service: Service, acme: Company) -> Company:
    return found_company(acme.admin.http)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(padded(SIZE))
    return path


def page_of(script: str, service: Service, company: Company, stop_after: int = 0) -> Page:
    """A page at another port; with `stop_after` it loses its connection before it asks where a later part goes."""
    settings = {"api": service.url, "token": company.admin.tokens["access_token"], "stopAfter": stop_after}
    code = f"window.SETTINGS = {json.dumps(settings)};\n{script}".replace("</script", "<\\/script")
    return Page(f'<!DOCTYPE html><meta charset="utf-8"><input type="file"><video></video><script>{code}</script>')


def lose_connection(context: BrowserContext, page: Page, film: Path) -> None:
    """Begin to upload, lose the connection after some parts, and leave the page."""
    tab = context.new_page()
    tab.expose_function("loseConnection", lambda: context.set_offline(True))
    tab.goto(page.url)
    tab.set_input_files("input", film)
    tab.evaluate("void window.send()")
    tab.wait_for_function("!navigator.onLine", timeout=90_000)
    tab.close()
    context.set_offline(False)


def standing(company: Company) -> dict[str, Any]:
    (one,) = expect(company.admin.get("/v1/uploads"), 200)["items"]
    found: dict[str, Any] = expect(company.admin.get(f"/v1/uploads/{one['id']}"), 200)
    return found


def test_uppy_goes_on_after_a_lost_connection_and_a_new_page(
    script: str, context: BrowserContext, service: Service, company: Company, film: Path
) -> None:
    broken, whole = page_of(script, service, company, STOP_AFTER), page_of(script, service, company)
    try:
        lose_connection(context, broken, film)
        before = standing(company)
        assert before["status"] == "open"
        assert before["received"]
        tab = context.new_page()
        tab.goto(whole.url)
        tab.set_input_files("input", film)
        told = tab.evaluate("window.send()")
    finally:
        broken.stop()
        whole.stop()
    path = f"/v1/uploads/{before['id']}"
    assert "error" not in told, told
    there = set(told["there"])  # what Uppy was told by listParts: a part that was on its way may have arrived meanwhile
    assert {part["number"] for part in before["received"]} <= there <= set(range(1, STOP_AFTER + 1))
    assert told["called"].count(f"POST {path}/parts") == PARTS - len(there)
    assert told["plays"] is True
    assert standing(company)["status"] == "complete"
    assert company.admin.get(f"/v1/videos/stream/{told['video']}").content == film.read_bytes()


def test_what_uppy_cancels_is_gone(
    script: str, context: BrowserContext, service: Service, company: Company, film: Path
) -> None:
    page = page_of(script, service, company, STOP_AFTER)
    try:
        tab = context.new_page()
        # The later parts never ask where to go, so that there is something to cancel.
        tab.add_init_script("window.loseConnection = () => new Promise(() => { window.waits = true; })")
        tab.goto(page.url)
        tab.set_input_files("input", film)
        tab.evaluate("void window.send()")
        tab.wait_for_function("window.waits", timeout=90_000)
        with tab.expect_response(lambda answer: answer.request.method == "DELETE", timeout=90_000) as deleted:
            tab.evaluate("window.cancel()")
        assert deleted.value.status == 204
    finally:
        page.stop()
    ended = standing(company)
    assert (ended["status"], ended["received"]) == ("aborted", [])
