"""The console's page and files over HTTP: what a browser may do with them, and for how long it may keep them."""

import re
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.e2e.clients import problem
from tests.in_process import context, load

STATIC = Path(__file__).parents[2] / "functions" / "console" / "static"


def page(http: httpx.Client, path: str = "/console") -> httpx.Response:
    answer = http.get(path)
    assert answer.status_code == 200
    return answer


def linked(answer: httpx.Response) -> list[str]:
    """The URLs of what the page names, as a browser resolves them."""
    return [urljoin(str(answer.url), each) for each in re.findall(r'(?:href|src)="([^"]+)"', answer.text)]


def policy(answer: httpx.Response) -> dict[str, list[str]]:
    directives = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in directives}


def test_the_page_is_asked_for_anew_each_time_and_its_files_never_again(http: httpx.Client) -> None:
    answer = page(http)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert len(linked(answer)) > 5
    for path in linked(answer):
        found = http.get(path)
        assert found.status_code == 200, path
        assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert found.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_finds_its_files_from_an_address_with_a_slash_too(http: httpx.Client) -> None:
    assert [http.get(path).status_code for path in linked(page(http, "/console/"))] == [200] * len(linked(page(http)))


@pytest.mark.transports("in_process")  # of which the stage is chosen here
@pytest.mark.parametrize("stage", ["/api", "/shop/videos", ""])
def test_the_page_names_its_files_relative_to_any_stage_or_base_path(http: httpx.Client, stage: str) -> None:
    event = {
        "resource": "/console",
        "path": "/console",
        "httpMethod": "GET",
        "headers": {"Host": "api.example.com"},
        "multiValueHeaders": {"Host": ["api.example.com"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "requestContext": {"path": f"{stage}/console", "requestId": "r", "domainName": "api.example.com"},
        "body": None,
        "isBase64Encoded": False,
    }
    app = load("console")
    answer = app.lambda_handler(event, context())
    (script,) = re.findall(r'<script type="module" src="([^"]+)"', answer["body"])
    assert urljoin(f"https://api.example.com{stage}/console", script) == (
        f"https://api.example.com{stage}/console/{app.VERSION}/app/app.js"
    )


def test_nothing_runs_or_loads_in_the_page_but_its_own_files(http: httpx.Client) -> None:
    answer = page(http)
    found = policy(answer)
    assert found["default-src"] == ["'none'"]
    assert found["script-src"] == ["'self'"]
    assert found["frame-ancestors"] == found["base-uri"] == found["form-action"] == ["'none'"]
    assert found["style-src"][0] == "'self'"
    assert all(re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", source) for source in found["style-src"][1:])
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<style|style=|<script>|\son\w+=", answer.text)
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_uploads_may_go_to_the_bucket_and_nowhere_else(http: httpx.Client) -> None:
    sources = policy(page(http))["connect-src"]
    assert sources[0] == "'self'"
    assert sources[1:]
    assert all(re.fullmatch(r"https?://[a-z0-9.:-]+", source) for source in sources[1:])


@pytest.mark.parametrize("path", ["/console", "/console/any/app/app.js", "/console/any/pages/library.js"])
def test_what_a_browser_has_already_is_not_sent_again(http: httpx.Client, path: str) -> None:
    first = http.get(path)
    for condition in (first.headers["ETag"], f'"other", W/{first.headers["ETag"]}', "*"):
        again = http.get(path, headers={"If-None-Match": condition})
        assert again.status_code == 304
        assert again.headers["ETag"] == first.headers["ETag"]
        assert again.content == b""
    assert http.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_another_releases_version_gets_the_file_and_does_not_keep_it(http: httpx.Client) -> None:
    answer = http.get("/console/0123456789abcdef/app/app.js")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/console/any/app/nothing.js",
        "/console/any/pages/nothing.js",
        "/console/any/console/app.py",
        "/console/any/vendor/styles.json",
        "/console/any/app/%2e%2e%2f%2e%2e%2fapp.py",
        "/console/any/..%2Fapp.py/app.js",
        "/console/any/%2e%2e/app.py",
        "/console/any/pages/..%2f..%2fapp.py",
        "/console/any/app/%2Fetc%2Fpasswd",
        "/console/any/vendor/README.md",
    ],
)
def test_no_name_leads_to_another_file(http: httpx.Client, path: str) -> None:
    problem(http.get(path), 404, "not-found")


def test_every_file_that_a_module_imports_is_served(http: httpx.Client) -> None:
    for path in STATIC.rglob("*.js"):
        if path.parent.name == "vendor":
            continue
        here = f"/console/any/{path.relative_to(STATIC).as_posix()}"
        for name in re.findall(r'(?:from|import)\s*\(?"(\.[^"]+)"', path.read_text("utf-8")):
            assert http.get(urljoin(here, name)).status_code == 200, f"{path.name} imports {name}"


def test_the_two_languages_have_the_same_messages() -> None:
    said = {}
    for name in ("en", "ko"):
        text = (STATIC / "messages" / f"{name}.js").read_text("utf-8")
        said[name] = dict(re.findall(r'^  "([^"]+)": "(.*)",$', text, re.MULTILINE))
    assert said["en"].keys() == said["ko"].keys()
    for key, english in said["en"].items():
        names = set(re.findall(r"\{(\w+)", english))
        assert set(re.findall(r"\{(\w+)", said["ko"][key])) <= names, key


def test_every_message_that_the_code_names_is_there_and_none_is_left_over() -> None:
    messages = set(re.findall(r'^  "([^"]+)":', (STATIC / "messages" / "en.js").read_text("utf-8"), re.MULTILINE))
    code = "".join(path.read_text("utf-8") for path in STATIC.rglob("*.js") if path.parent.name != "messages")
    named = set(re.findall(r'\bt\("([^"]+)"', code))
    assert named <= messages
    formed = {f"{start}." for start in re.findall(r"\bt\(`([a-z.-]+)\.\$\{", code)} | {"problem.", "wait.", "field."}
    loose = {key for key in messages - named if not key.startswith(tuple(formed))}
    assert {key for key in loose if f'"{key}"' not in code and f"{key}:" not in code} == set()


def test_the_libraries_are_small_and_each_is_listed_with_its_licence() -> None:
    vendor = STATIC / "vendor"
    files = [path for path in vendor.iterdir() if path.suffix in {".js", ".css"}]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    listed = (vendor / "README.md").read_text("utf-8")
    assert [path.name for path in files if path.name not in listed] == []
    licences = re.findall(r"^\| [^|]+ \| [0-9.]+ \| ([^|]+) \|", listed, re.MULTILINE)
    assert set(licences) == {"MIT", "Apache-2.0", "ISC"}
