"""What an Idempotency-Key is, and which requests are equal under it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service import forget
from vms.errors import Invalid
from vms.idempotency import IdempotencyKey, name_request, parse

VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost/none")
    sign_with(monkeypatch, current="first", first="a" * 40)


def sign_with(monkeypatch: pytest.MonkeyPatch, **keys: str) -> None:
    monkeypatch.setenv("JWT_KEYS", json.dumps(keys))
    forget()


def named(
    sent: str = "k", user_id: int | None = 1, route: str = "POST /v1/videos", body: object = None
) -> IdempotencyKey:
    return name_request([sent], user_id, route, body or {"name": "x", "file_path": "a"}, str)


@given(st.text(VISIBLE, min_size=1, max_size=255))
def test_a_key_is_read_back_from_its_quotes(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert parse([f'"{escaped}"']) == key
    if not key.startswith('"'):
        assert '"' in key or parse([key]) == key


def test_a_bare_key_is_the_same_as_a_quoted_one() -> None:
    assert parse(["8e03978e"]) == parse(['"8e03978e"']) == parse(['  "8e03978e"\t'])
    assert len(parse(["k" * 255])) == 255


@pytest.mark.parametrize(
    "sent",
    [
        *("", "   ", '""', '"', '"a', 'a"', '"a"b"', '"a\\b"', "a b", '"a b"', '"k";p=1', "é", "a\x7f", "a\n"),
        *("k" * 256, f'"{"k" * 256}"'),
    ],
)
def test_what_is_no_key_is_refused(sent: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse([sent])
    assert raised.value.errors[0]["field"] == "Idempotency-Key"


def test_several_keys_are_refused() -> None:
    with pytest.raises(Invalid):
        parse(["a", "a"])


def test_a_key_is_its_callers_alone() -> None:
    digests = {named(user_id=user_id).digest for user_id in (None, 1, 2)} | {named("other").digest}
    assert len(digests) == 4
    assert all(len(digest) == 64 for digest in digests)


def test_a_request_equals_itself_whatever_the_order_of_its_fields_and_no_other() -> None:
    stored = named(body={"name": "x", "file_path": "a"}).fingerprint
    assert named(body={"file_path": "a", "name": "x"}).matches(stored)
    assert not named(body={"file_path": "a", "name": "y"}).matches(stored)
    assert not named(route="POST /v1/users").matches(stored)


def test_a_request_is_known_again_after_the_signing_key_was_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = named().fingerprint
    sign_with(monkeypatch, current="second", second="b" * 40, first="a" * 40)
    assert named().matches(stored)
    assert named().fingerprint != stored
    sign_with(monkeypatch, current="second", second="b" * 40)
    assert not named().matches(stored)


def test_a_fingerprint_needs_the_servers_key(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = named().fingerprint
    sign_with(monkeypatch, current="first", first="c" * 40)
    assert not named().matches(stored)


def test_a_key_does_not_show_its_request() -> None:
    key = named("my-secret-key", body={"password": "a good password"})
    assert "my-secret-key" not in repr(key)
    assert key.request not in repr(key)
