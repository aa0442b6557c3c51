"""Tokens: which are taken, by which key, and for what."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from vms import jwts, keys, settings
from vms.auth import Caller, Who, authenticate, authenticate_playback
from vms.errors import Unauthenticated
from vms.variables import SettingError

OLD, NEW = "o" * 40, "n" * 40


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"current": "old", "old": OLD}))
    monkeypatch.setenv("DATABASE_URL", "postgresql://vms@127.0.0.1/vms")
    monkeypatch.setenv("JWT_KEYS", str(path))
    settings.settings.cache_clear()
    keys.forget()
    yield path
    settings.settings.cache_clear()
    keys.forget()


def access() -> str:
    return jwts.issue("access", 7, 3, "guest", 60)


def test_a_token_is_read_back(key_file: Path) -> None:
    claims = jwts.verify(access(), "access")
    assert (claims["sub"], claims["cid"], claims["role"]) == (7, 3, "guest")


def test_two_keys_stand_side_by_side_while_one_is_rotated_out(key_file: Path) -> None:
    before = access()
    key_file.write_text(json.dumps({"current": "new", "new": NEW, "old": OLD}))
    keys.forget()
    after = access()
    assert jwt.get_unverified_header(after)["kid"] == "new"
    assert jwts.verify(before, "access")["sub"] == jwts.verify(after, "access")["sub"]
    key_file.write_text(json.dumps({"current": "new", "new": NEW}))
    keys.forget()
    with pytest.raises(Unauthenticated):
        jwts.verify(before, "access")
    assert jwts.verify(after, "access")


def test_a_newer_key_is_found_when_a_token_names_it(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    access()
    key_file.write_text(json.dumps({"current": "new", "new": NEW, "old": OLD}))
    monkeypatch.setattr(keys, "RELOAD_AFTER", 0.0)
    token = jwt.encode({"sub": "1"}, NEW, algorithm="HS256", headers={"kid": "new"})
    with pytest.raises(Unauthenticated):  # it has not the claims, but its key was looked for
        jwts.verify(token, "access")
    assert keys.key_of("new") == NEW
    assert keys.key_of("unknown") is None


@pytest.mark.parametrize("clock", ["time", "monotonic"])
def test_keys_are_read_again_after_ten_minutes_by_either_clock(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """The clock that never goes back may stand still while an execution environment is frozen."""
    access()
    key_file.write_text(json.dumps({"current": "new", "new": NEW, "old": OLD}))
    now = {"time": time.time(), "monotonic": time.monotonic()}
    monkeypatch.setattr("vms.keys.time.time", lambda: now["time"])
    monkeypatch.setattr("vms.keys.time.monotonic", lambda: now["monotonic"])
    now[clock] += keys.STALE_AFTER - 1
    assert keys.signing_key() == ("old", OLD)
    now[clock] += 2
    assert keys.signing_key() == ("new", NEW)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "none"])
def test_only_hs256_is_accepted(key_file: Path, algorithm: str) -> None:
    long = "l" * 64  # long enough for all of them
    key_file.write_text(json.dumps({"current": "old", "old": long}))
    keys.forget()
    claims = jwt.decode(access(), options={"verify_signature": False})
    token = jwt.encode(claims, "" if algorithm == "none" else long, algorithm=algorithm, headers={"kid": "old"})
    with pytest.raises(Unauthenticated):
        jwts.verify(token, "access")


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "cid", "role", "typ", "jti", "iat", "exp"])
def test_every_claim_is_required(key_file: Path, missing: str) -> None:
    claims = jwt.decode(access(), options={"verify_signature": False})
    del claims[missing]
    with pytest.raises(Unauthenticated):
        jwts.verify(jwt.encode(claims, OLD, algorithm="HS256", headers={"kid": "old"}), "access")


@pytest.mark.parametrize(
    "change", [{"iss": "x"}, {"aud": "x"}, {"sub": "x"}, {"exp": 1}, {"typ": "refresh"}, {"exp": "x"}]
)
def test_a_wrong_claim_is_refused(key_file: Path, change: dict[str, object]) -> None:
    claims = {**jwt.decode(access(), options={"verify_signature": False}), **change}
    with pytest.raises(Unauthenticated):
        jwts.verify(jwt.encode(claims, OLD, algorithm="HS256", headers={"kid": "old"}), "access")


def test_an_expired_token_is_known_again_only_where_that_is_asked_for(key_file: Path) -> None:
    token = jwts.issue("refresh", 7, 3, "guest", -1)
    with pytest.raises(Unauthenticated):
        jwts.verify(token, "refresh")
    assert jwts.verify(token, "refresh", expired_too=True)["sub"] == 7


def test_a_playback_token_is_for_its_video_alone(key_file: Path) -> None:
    token = jwts.issue("playback", 7, 3, "guest", 60, vid=5, epoch=2)
    assert authenticate_playback(token, 5) == (Caller(7, 3, Who.MEMBER, 2), False)
    sliced = jwts.issue("playback", 7, 3, "guest", 60, vid=5, epoch=2, slices=True)
    assert authenticate_playback(sliced, 5)[1] is True
    with pytest.raises(Unauthenticated):
        authenticate_playback(token, 6)
    with pytest.raises(Unauthenticated):
        authenticate_playback(access(), 5)
    with pytest.raises(Unauthenticated):
        authenticate(f"Bearer {token}", Who.MEMBER)


def test_a_key_file_that_is_not_there_is_named(key_file: Path) -> None:
    key_file.unlink()
    with pytest.raises(SettingError, match="JWT_KEYS"):
        access()
