"""The documentation, the OpenAPI document, health, and paths that are not there."""

import json

import httpx
import pytest

from tests.e2e.clients import expect, problem


def test_health_is_ok(http: httpx.Client) -> None:
    assert expect(http.get("/health"), 200) == {"status": "ok"}


def test_the_root_redirects_to_the_docs(http: httpx.Client) -> None:
    answer = http.get("/", follow_redirects=False)
    assert answer.status_code in {301, 302, 303, 307, 308}
    assert answer.headers["Location"].endswith("/docs")


def test_the_docs_need_no_other_host(http: httpx.Client) -> None:
    answer = http.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "SwaggerUIBundle" in answer.text
    for attribute in ('src="http', "src='http", '<link rel="stylesheet" href="http'):
        assert attribute not in answer.text


def test_one_openapi_document_describes_all_functions(http: httpx.Client) -> None:
    document = expect(http.get("/openapi.json"), 200)
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert {"500", "503"} <= set(operation["responses"]), where
            assert any(status.startswith(("2", "3")) for status in operation["responses"]), where
            expected: list[dict[str, list[str]]] = [] if operation["x-who"] == "anonymous" else [{"bearer": []}]
            assert operation.get("security", [])[:1] == expected, where
    references = json.dumps(document).split('"#/components/schemas/')[1:]
    assert {text.partition('"')[0] for text in references} <= set(document["components"]["schemas"])


@pytest.mark.transports("over_http")  # API Gateway answers by itself
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/v1"),
        ("PATCH", "/v1/videos"),
        ("DELETE", "/v1/videos"),
        ("GET", "/v1/auth/login"),
        ("POST", "/health"),
    ],
)
def test_an_unknown_path_or_method_is_404(http: httpx.Client, method: str, path: str) -> None:
    problem(http.request(method, path), 404, "not-found")
