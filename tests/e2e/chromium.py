"""Chromium with the console in it: profiles whose pages must write no error, and what people do on every page."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.e2e.clients import PASSWORD, Person
from tests.service import Service

ROOT = Path(__file__).parents[2]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--mute-audio", "--autoplay-policy=no-user-gesture-required"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 60_000  # ms
# What Chromium itself writes of an answer that is no success: the page shows it in words.
NOT_OURS = re.compile(
    r"Failed to load resource: (the server responded with a status of (401|403|404|409|422|429|503)|net::ERR_INTERNET)"
)
type Opens = Callable[..., BrowserContext]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def opens(browser: Browser, service: Service) -> Iterator[Opens]:
    """Makes a profile of its own; at the end none of its pages has written an error."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not NOT_OURS.match(message.text):
            said.append(message.text)

    def watch(page: Page) -> None:
        page.on("console", note)
        page.on("pageerror", lambda failure: said.append(str(failure)))

    def make(url: str = service.url, **options: object) -> BrowserContext:
        settings = {"base_url": f"{url}/", "locale": "en-US", "viewport": {"width": 1440, "height": 900}, **options}
        context = browser.new_context(**settings)  # type: ignore[arg-type]  # its options are many, and optional
        context.set_default_timeout(PATIENCE)
        context.on("page", watch)
        contexts.append(context)
        return context

    expect.set_options(timeout=PATIENCE)
    yield make
    for context in contexts:
        context.close()
    assert not said, said


def log_in(page: Page, person: Person, *, keep: bool = False) -> None:
    page.goto("console")
    page.get_by_label("E-mail address").fill(person.email)
    page.get_by_label("Password").fill(PASSWORD)
    if keep:
        page.get_by_label("Keep me logged in").check()
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Library")).to_be_visible()


def until(page: Page, true: str) -> None:
    """Wait for a JavaScript expression. Playwright's own wait needs `eval`, which the page's policy forbids."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(true):
        assert time.monotonic() < deadline, true
        page.wait_for_timeout(100)


def visit(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()


def go(page: Page, path: str) -> None:
    page.evaluate(f"location.hash = '#/{path}'")
