from pathlib import Path

import pytest

from vms.settings import MIB, SettingError, parse_jwt_keys, read, read_stream

GOOD = {"DATABASE_URL": "postgresql://vms:x@127.0.0.1:5432/vms", "JWT_KEYS": "/keys.json"}
GOOD_STREAM = {"VIDEO_BUCKET": "videos"}


def test_what_is_not_set_has_the_documented_default() -> None:
    found = read(GOOD)
    assert (found.bcrypt_cost, found.access_token_seconds, found.refresh_token_seconds) == (12, 900, 28 * 86_400)
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
        parse_jwt_keys(text)
    assert "short" not in str(failure.value)


def test_the_readme_names_every_setting() -> None:
    root = Path(__file__).parents[2]
    source = (root / "layers/vms/vms/settings.py").read_text("utf-8")
    names = {part.split('"')[0] for part in source.split('environment, "')[1:]} | {
        "AWS_ENDPOINT_URL_S3",
        "MIGRATIONS_DIR",
    }
    readme = (root / "README.md").read_text("utf-8")
    assert names
    assert not {name for name in names if f"`{name}`" not in readme}
