"""Which Origin is answered, by the setting CORS_ORIGINS."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.service import forget
from vms import origins

LISTED = "https://www.example.com,https://b.example:8443,http://localhost:*,http://[::1]:*"


@pytest.fixture(autouse=True)
def _setting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost/none")
    monkeypatch.setenv("JWT_KEYS", "-")
    monkeypatch.setenv("CORS_ORIGINS", LISTED)
    forget()
    yield
    forget()


def event(*given: str, name: str = "Origin") -> dict[str, Any]:
    return {"headers": {name: given[-1]}, "multiValueHeaders": {name: list(given)}} if given else {"headers": None}


@pytest.mark.parametrize(
    "origin",
    [
        *("https://www.example.com", "https://b.example:8443", "http://localhost:3000", "http://localhost:65535"),
        *("http://localhost", "http://[::1]:5173", "http://[::1]"),
    ],
)
def test_a_listed_origin_is_answered_by_its_name(origin: str) -> None:
    found = origins.headers(event(origin))
    assert found["Access-Control-Allow-Origin"] == origin
    assert found["Vary"] == "Origin"
    assert "ETag" in found["Access-Control-Expose-Headers"]
    assert origins.headers(event(origin, name="origin")) == found
    assert origins.headers({"headers": {"oRiGiN": origin}}) == found
    asked = origins.preflight(event(origin), ("GET", "PUT"))
    assert asked["Access-Control-Allow-Methods"] == "GET, PUT"
    assert asked["Allow"] == "GET, PUT, OPTIONS"


@pytest.mark.parametrize(
    "given",
    [
        *((), ("null",), ("*",), ("",), ("https://www.example.com/",), ("https://www.example.com:443",)),
        *(("HTTPS://www.example.com",), ("https://WWW.example.com",), ("http://www.example.com",)),
        *(("https://www.example.com.evil.example",), ("https://evil.example",), ("https://b.example",)),
        *(("http://localhost:*",), ("http://localhost:",), ("http://localhost:3000/",), ("http://localhost:٣",)),
        *(("http://localhost.evil.example:3000",), ("http://localhost:3000:3000",), ("https://localhost:3000",)),
        *(("http://localhost:x",), ("http://localhost@evil.example:80",), ("https://www.example.com evil",)),
        *(("https://www.example.com", "https://www.example.com"), ("https://www.example.com", "https://evil.example")),
    ],
)
def test_another_origin_several_or_none_get_no_header_but_vary(given: tuple[str, ...]) -> None:
    assert origins.headers(event(*given)) == {"Vary": "Origin"}
    assert origins.preflight(event(*given), ("GET",)) == {"Allow": "GET, OPTIONS"}


def test_without_the_setting_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "")
    forget()
    assert origins.headers(event("https://www.example.com")) == {}
    assert origins.preflight(event("https://www.example.com"), ("GET",)) == {"Allow": "GET, OPTIONS"}
