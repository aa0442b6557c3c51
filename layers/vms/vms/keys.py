"""The keys that sign tokens: from Secrets Manager on AWS, from a generated file locally. Two may stand side by side during a rotation."""

import time
from pathlib import Path

from vms.settings import parse_jwt_keys, settings

# A token of an unknown kid makes an environment look for new keys, but no oftener than this (seconds): nobody can make it ask at will.
RELOAD_AFTER = 30.0

_current: str | None = None
_keys: dict[str, str] = {}
_loaded_at = 0.0


def signing_key() -> tuple[str, str]:
    """The kid and the secret to sign with now. Raises `SettingError`."""
    if _current is None or time.monotonic() - _loaded_at > 600:
        # Ten minutes after a rotation at the latest, every environment signs with the new key.
        _load()
    assert _current is not None  # noqa: S101 - _load sets it or raises
    return _current, _keys[_current]


def key_of(kid: object) -> str | None:
    """The secret of this kid, or None; an unknown one may be newer than what was read, so the keys are read again."""
    if not isinstance(kid, str):
        return None
    if _current is None or (kid not in _keys and time.monotonic() - _loaded_at > RELOAD_AFTER):
        _load()
    return _keys.get(kid)


def forget() -> None:
    """Read the keys anew on the next use."""
    global _current, _loaded_at
    _current, _loaded_at = None, 0.0
    _keys.clear()


def _load() -> None:
    global _current, _keys, _loaded_at
    source = settings().jwt_keys
    if source.startswith("arn:"):
        from vms.aws import secret  # only where there is a Secrets Manager

        text = secret(source, settings().region)
    elif source.startswith("{"):
        text = source
    else:
        text = Path(source).read_text(encoding="utf-8")
    _current, _keys = parse_jwt_keys(text)
    _loaded_at = time.monotonic()
