"""Settings: their defaults, and the broken ones."""

from pathlib import Path
from typing import Any

import pytest

from ops import readme
from vms import keys
from vms.settings import MIB, TABLE, read, read_stream
from vms.variables import Setting, SettingError

ROOT = Path(__file__).parents[2]

GOOD = {"DATABASE_URL": "postgresql://vms:x@127.0.0.1:5432/vms", "JWT_KEYS": "/keys.json"}
GOOD_STREAM = {"VIDEO_BUCKET": "videos"}


def test_what_is_not_set_has_the_documented_default() -> None:
    found = read(GOOD)
    assert (found.bcrypt_cost, found.access_token_seconds, found.refresh_token_seconds) == (12, 900, 28 * 86_400)
    assert found.plans_are_managed  # what nobody has decided, no admin may do
    assert (found.playback_token_seconds, found.login_attempts, found.login_window_seconds) == (14_400, 10, 900)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://host"}, "DATABASE_URL"),
        ({"JWT_KEYS": ""}, "JWT_KEYS"),
        ({"BCRYPT_COST": "twelve"}, "BCRYPT_COST"),
        ({"BCRYPT_COST": "3"}, "BCRYPT_COST"),
        ({"ACCESS_TOKEN_SECONDS": "-1"}, "ACCESS_TOKEN_SECONDS"),
        ({"DATABASE_IAM_AUTH": "yes"}, "DATABASE_IAM_AUTH"),
        ({"PLAN_CHANGES": "nobody"}, "PLAN_CHANGES"),
    ],
)
def test_a_missing_or_broken_setting_is_named_in_one_line(change: dict[str, str], name: str) -> None:
    with pytest.raises(SettingError) as failure:
        read({**GOOD, **change})
    assert name in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"VIDEO_BUCKET": ""}, "VIDEO_BUCKET"),
        ({"STREAM_MODE": "fast"}, "STREAM_MODE"),
        ({"STREAM_SLICE_BYTES": "6MiB"}, "STREAM_SLICE_BYTES"),
        ({"AWS_ENDPOINT_URL_S3": "localhost:9000"}, "AWS_ENDPOINT_URL_S3"),
        ({"S3_IDLE_TIMEOUT_SECONDS": "nan"}, "S3_IDLE_TIMEOUT_SECONDS"),
    ],
)
def test_a_broken_stream_setting_is_named_too(change: dict[str, str], name: str) -> None:
    with pytest.raises(SettingError, match=name):
        read_stream({**GOOD_STREAM, **change})


@pytest.mark.parametrize(
    "text",
    [
        *("*", "null", "a.example", "https://*.example", "https://*", "https://a.example:*", "http://localhost:**"),
        *("https://a.example/", "https://a.example/x", "https://A.example", "HTTPS://a.example", "ftp://a.example"),
        *("https://a.example:443", "http://a.example:80", "https://a.example:99999", "https://a.example:", "https://"),
        *("https://a.example,", ",", "https://a.example;https://b.example", "https://a.example https://b.example"),
        *("https://u@a.example", "https://a.example?x", "https://a.example\nhttps://b.example", "http://[::1"),
    ],
)
def test_what_no_browser_sends_as_its_origin_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="setting CORS_ORIGINS must be origins"):
        read({**GOOD, "CORS_ORIGINS": text})


def test_origins_are_read_in_their_order() -> None:
    assert read(GOOD).cors_origins == ()
    text = "https://a.example, http://localhost:*,http://[::1]:*,https://b.example:8443,http://a.example:443"
    assert read({**GOOD, "CORS_ORIGINS": text}).cors_origins == (
        *("https://a.example", "http://localhost:*", "http://[::1]:*"),
        *("https://b.example:8443", "http://a.example:443"),
    )


def test_the_slice_is_what_the_platform_sends_fast() -> None:
    assert read_stream(GOOD_STREAM).slice_bytes == 6 * MIB
    assert read_stream({**GOOD_STREAM, "STREAM_MODE": "buffered"}).slice_bytes == 4 * MIB
    sam_local = read_stream({**GOOD_STREAM, "AWS_SAM_LOCAL": "true", "STREAM_SLICE_BYTES": str(50 * MIB)})
    assert (sam_local.buffered, sam_local.slice_bytes) == (True, 4 * MIB)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "7",
        '{"current": "a"}',
        '{"current": "b", "a": "' + "x" * 40 + '"}',
        '{"current": "a", "a": "short"}',
        '{"current": ["a"]}',
    ],
)
def test_a_broken_key_set_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SettingError) as failure:
        keys.parse(text)
    assert "short" not in str(failure.value)


def test_the_largest_whole_answer_is_the_limit_and_where_it_is_buffered_one_slice() -> None:
    assert read_stream(GOOD_STREAM).whole_limit == 0
    assert read_stream({**GOOD_STREAM, "STREAM_MAX_BYTES": "1000"}).whole_limit == 1000
    buffered = {**GOOD_STREAM, "STREAM_MODE": "buffered"}
    assert read_stream(buffered).whole_limit == 4 * MIB
    assert read_stream({**buffered, "STREAM_MAX_BYTES": "1000"}).whole_limit == 1000
    assert read_stream({**buffered, "STREAM_MAX_BYTES": str(200 * MIB)}).whole_limit == 4 * MIB


def test_a_broken_value_is_not_shown_since_it_may_be_a_secret() -> None:
    with pytest.raises(SettingError) as failure:
        read({**GOOD, "DATABASE_URL": "mysql://vms@host/vms?password=hunter2"})
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.name)
def test_a_default_is_allowed_and_the_functions_that_use_a_setting_exist(setting: Setting[Any]) -> None:
    _, parse = setting.form
    if setting.default not in {None, ""}:
        assert parse(str(setting.default)) == setting.default
    assert setting.used_by == "all" or {
        (ROOT / "functions" / name).is_dir() for name in setting.used_by.split(", ")
    } == {True}


def test_a_setting_is_in_the_table_once() -> None:
    names = [setting.name for setting in TABLE]
    assert len(names) == len(set(names))
    assert {"DATABASE_URL", "VIDEO_BUCKET", "MIGRATIONS_DIR"} <= set(names)


def test_the_readme_has_the_table_of_the_settings() -> None:
    found = (ROOT / "README.md").read_text("utf-8")
    assert found == readme.text(found), "run `make readme`"
