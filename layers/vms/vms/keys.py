"""The keys that sign tokens: from Secrets Manager on AWS, from a generated file locally. Two may stand side by side during a rotation."""

import time
from pathlib import Path

from vms.settings import SettingError, parse_jwt_keys, settings

# A token of an unknown kid makes an environment look for new keys, but no oftener than this (seconds): nobody can make it ask at will.
RELOAD_AFTER = 30.0
# And without one, every environment knows of a rotation after this at the latest (seconds).
STALE_AFTER = 600.0

_current = ""
_keys: dict[str, str] = {}
_loaded_at = 0.0
_generation = 0


def signing_key() -> tuple[str, str]:
    """The kid and the secret to sign with now. Raises `SettingError`."""
    generation()
    return _current, _keys[_current]


def key_of(kid: object) -> str | None:
    """The secret of this kid, or None; an unknown one may be newer than what was read, so the keys are read again."""
    if not isinstance(kid, str):
        return None
    generation()
    if kid not in _keys and time.monotonic() - _loaded_at > RELOAD_AFTER:
        _load()
    return _keys.get(kid)


def generation() -> int:
    """A number that grows whenever the keys were read anew, which this does when they are stale. Raises `SettingError`."""
    if not _keys or time.monotonic() - _loaded_at > STALE_AFTER:
        _load()
    return _generation


def forget() -> None:
    """Read the keys anew on the next use."""
    _keys.clear()


def _load() -> None:
    global _current, _keys, _loaded_at, _generation
    source = settings().jwt_keys
    if source.startswith("arn:"):
        from vms.aws import secret  # only where there is a Secrets Manager

        text = secret(source, settings().region)
    elif source.startswith("{"):
        text = source
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as failure:
            raise SettingError(f"setting JWT_KEYS names a file that cannot be read: {failure.strerror}") from None
    _current, _keys = parse_jwt_keys(text)
    _loaded_at = time.monotonic()
    _generation += 1
