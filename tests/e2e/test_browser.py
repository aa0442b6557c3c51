"""Chromium plays films by playback URLs, seeks and reaches the end, in a page of ours and as a page of its own."""

import contextlib
import html
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.s3 import S3
from tests.e2e.chromium import BROWSER, needs_browser
from tests.e2e.clients import Company, add_member, expect
from tests.e2e.films import FILM, make, put
from tests.environment import of_child
from tests.service import Service

pytestmark = pytest.mark.transports("over_http")

PLAYER = Path(__file__).with_name("player.html")
PAGE = Path(__file__).with_name("page.html")


class Page:
    """Serves one page on loopback and keeps what it reports; /opened redirects to `opened`."""

    def __init__(self, text: str, opened: str = "") -> None:
        told: queue.Queue[dict[str, Any]] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/opened":
                    asked = {"Range": self.headers["Range"]} if self.headers["Range"] else {}
                    film = httpx.get(opened, headers=asked, timeout=30, trust_env=False)
                    self._answer(film.content, film.status_code, film.headers)
                else:
                    self._answer(text.encode(), 200, {"Content-Type": "text/html; charset=utf-8"})

            def do_POST(self) -> None:
                told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(b"", 200, {})

            def _answer(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in {"content-length", "connection", "date", "transfer-encoding"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # a player closes what it does not need
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
                """Say nothing: the page's URL holds a token."""

        self.told = told
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def command(profile: Path, *more: str) -> list[str]:
    """How to start Chromium: as root it needs --no-sandbox, and a container may have too little shared memory."""
    assert BROWSER is not None
    options = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"]
    options += ["--autoplay-policy=no-user-gesture-required", "--no-proxy-server", f"--user-data-dir={profile}"]
    return [BROWSER, *options, *more]


@contextlib.contextmanager
def browsing(url: str, profile: Path) -> Iterator[None]:
    """Chromium, headless, at this URL; it and all of its processes end with the block."""
    with (profile.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen(
            command(profile, url),
            env=of_child(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """More than two slices, so that slices have to be asked for."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    film = make(tmp_path_factory.mktemp("films") / "index-first.mp4")
    assert film.stat().st_size > 12 * 1024 * 1024
    return film.read_bytes()


@needs_browser
@pytest.mark.parametrize("slices", [False, True])
def test_a_browser_plays_a_film_seeks_seven_times_and_reaches_its_end(
    acme: Company, bucket: S3, tmp_path: Path, long_film: bytes, slices: bool
) -> None:
    viewer = add_member(acme.admin)
    video = acme.video(file_path=put(bucket, acme, long_film))
    url = expect(viewer.call("POST", f"/v1/videos/{video}/playback", {"slices": slices}), 200)["url"]
    page = Page(PLAYER.read_text("utf-8").replace("FILM_URL", url))
    seen: list[dict[str, Any]] = []
    try:
        with browsing(page.url, tmp_path / "profile"):
            while not seen or seen[-1]["event"] != "ended":
                seen.append(page.told.get(timeout=90))
                assert seen[-1]["event"] in {"playing", "seeked", "ended"}, seen[-1]
    finally:
        page.stop()
    duration = seen[-1]["duration"]
    assert duration > 1
    assert seen[0]["event"] == "playing"
    assert seen[0]["size"][0] > 0
    reached = [told["at"] / duration for told in seen if told["event"] == "seeked"]
    assert reached == pytest.approx([0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.6], abs=0.05)
    assert abs(seen[-1]["at"] - duration) < 0.5
    assert viewer.me()["point"] == 10


@needs_browser
def test_a_playback_url_that_is_opened_as_a_page_plays(acme: Company, bucket: S3, tmp_path: Path) -> None:
    video = acme.video(file_path=put(bucket, acme, FILM))
    url = expect(acme.guest.call("POST", f"/v1/videos/{video}/playback"), 200)["url"]
    page = Page(PAGE.read_text("utf-8"), opened=url)
    try:
        with browsing(page.url, tmp_path / "profile"):
            assert page.told.get(timeout=90)["event"] == "playing"
    finally:
        page.stop()


TRY_OUT = 'class="btn try-out__btn'  # the button as an element: the page has its text in a script too


def shown(url: str, tmp_path: Path) -> str:
    """The page as Chromium has it after 15 s of its own time."""
    return subprocess.run(
        command(tmp_path / "profile", "--virtual-time-budget=15000", "--dump-dom", url),
        env=of_child(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stdout


@needs_browser
def test_a_browser_shows_the_documentation_of_every_route(service: Service, tmp_path: Path) -> None:
    page = shown(f"{service.url}/docs", tmp_path)
    assert "Authorize" in page
    document = httpx.get(f"{service.url}/openapi.json", timeout=30).json()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert html.escape(operation["summary"], quote=False) in page


@needs_browser
def test_the_documentation_offers_a_log_in_that_works_with_the_demo(service: Service, tmp_path: Path) -> None:
    page = shown(f"{service.url}/docs#/auth/logIn", tmp_path)
    assert TRY_OUT in page
    assert "admin@paid.example" in page
    assert "For anybody, without a token." in page


@needs_browser
@pytest.mark.parametrize("operation", ["service/goToDocs", "service/getDocument", "videos/streamVideo"])
def test_an_answer_that_a_page_cannot_show_is_not_tried_out(service: Service, tmp_path: Path, operation: str) -> None:
    page = shown(f"{service.url}/docs#/{operation}", tmp_path)
    assert 'class="opblock-body' in page
    assert TRY_OUT not in page
