"""The keys that sign tokens: from Secrets Manager on AWS, from a generated file locally. Two during a rotation.

Keys that were read once stay in use while they cannot be read again.
"""

import json
import logging
import threading
import time
from pathlib import Path

from vms.errors import Unavailable
from vms.settings import settings
from vms.variables import SettingError

# Seconds after which the keys are read again.
STALE_AFTER = 600.0
# A token with an unknown kid has the keys read again, but at most once in so many seconds; a failed attempt counts.
RELOAD_AFTER = 30.0

logger = logging.getLogger(__name__)
_current = ""
_keys: dict[str, str] = {}
_generation = 0
# When the keys were last read, and when that was last tried: by the clock that never goes back, and by the wall's,
# because the first may stand still while an execution environment is frozen.
_loaded_at = (0.0, 0.0)
_tried_at = (0.0, 0.0)
_loading = threading.Lock()


def signing_key() -> tuple[str, str]:
    """The kid and the secret to sign with now. Raises as `generation` does."""
    generation()
    return _current, _keys[_current]


def key_of(kid: object) -> str | None:
    """The secret of this kid, or None; an unknown one may be newer than what was read, so the keys are read again."""
    if not isinstance(kid, str):
        return None
    generation()
    if kid not in _keys:
        _load_again()
    return _keys.get(kid)


def generation() -> int:
    """A number that grows whenever the keys are read. Reads them again when they are stale.

    Raises:
        SettingError: the setting, or the file that it names, is broken.
        Unavailable: Secrets Manager does not give the keys, and never has to this environment.
    """
    if not _keys:
        _load()
    elif _age(_loaded_at) > STALE_AFTER:
        _load_again()
    return _generation


def forget() -> None:
    """Read the keys again on the next use."""
    _keys.clear()


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Read the key set `{"current": kid, kid: secret, …}`; returns the signing kid and all secrets by kid.

    Raises:
        SettingError: the text is not such a set, or a secret has fewer than 32 characters (RFC 7518 section 3.2).
    """
    try:
        keys = json.loads(text)
        current = keys.pop("current")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise SettingError('setting JWT_KEYS must hold {"current": "<kid>", "<kid>": "<secret>"}') from None
    if not isinstance(current, str) or current not in keys:
        raise SettingError("setting JWT_KEYS has no key of the name that `current` gives")
    if not all(isinstance(secret, str) and len(secret) >= 32 for secret in keys.values()):
        raise SettingError("setting JWT_KEYS has a secret of fewer than 32 characters")
    return current, keys


def _load_again() -> None:
    """Read the keys, unless that was tried just now or is being tried; without success the present ones stay."""
    if _age(_tried_at) <= RELOAD_AFTER or not _loading.acquire(blocking=False):
        return
    try:
        _load()
    except (SettingError, Unavailable) as failure:
        logger.warning("the signing keys cannot be read again; the present ones stay: %s", type(failure).__name__)
    finally:
        _loading.release()


def _age(moment: tuple[float, float]) -> float:
    return max(time.monotonic() - moment[0], time.time() - moment[1])


def _load() -> None:
    global _current, _keys, _loaded_at, _tried_at, _generation
    _tried_at = (time.monotonic(), time.time())
    _current, _keys = parse(_text(settings().jwt_keys))
    _loaded_at = (time.monotonic(), time.time())
    _generation += 1


def _text(source: str) -> str:
    if source.startswith("{"):
        return source
    if source.startswith("arn:"):
        from vms.aws import AwsError, secret  # only where there is a Secrets Manager

        try:
            return secret(source, settings().region)
        except AwsError as failure:
            logger.error("no signing keys: %s", failure)
            raise Unavailable from None
    try:
        return Path(source).read_text(encoding="utf-8")
    except OSError as failure:
        raise SettingError(f"setting JWT_KEYS names a file that cannot be read: {failure.strerror}") from None
