"""The runner's small files: written whole or not at all."""

import json
import os
import secrets
from pathlib import Path
from typing import Any


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - the descriptor carries the mode
        file.write(text)
    new.replace(path)


def secret(path: Path) -> str:
    """A random secret, made once and remembered in a file that only its owner can read."""
    if not path.exists():
        write_private(path, secrets.token_hex(20))
    return path.read_text()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object's file; empty if there is none or it is broken."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
