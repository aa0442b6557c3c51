"""Says which messages of a PostgreSQL client would pin it at RDS Proxy to one database connection.

What pins: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy-pinning.html, the conditions for PostgreSQL
and for all engines. A statement that is not of a known kind counts too: nobody has looked it up.
"""

import re
from collections import Counter

# How a statement of a request may begin.
KINDS = {"WITH", "SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "ROLLBACK"}
# Messages that send a statement, or a part of one (parse, bind, describe, execute, sync, flush), and the farewell:
# https://www.postgresql.org/docs/current/protocol-message-formats.html. Not Close, which forgets a prepared statement.
MESSAGES = b"QPBDESHX"
# Bytes of text above which any statement pins.
LONGEST = 16 * 1024
# What a connection may say of itself: `options` sets parameters of the session.
STARTUP = {"user", "database", "application_name", "client_encoding"}

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_SESSION = re.compile(
    r"\b(set_config|nextval|setval|currval|lastval|pg_notify|dblink\w*|pg_(?:try_)?advisory_(?!xact_|lock_xact)\w+"
    r"|TEMP|TEMPORARY|DEALLOCATE|DISCARD|LISTEN|PREPARE)\b",
    re.IGNORECASE,
)


def of_statement(text: str) -> list[str]:
    """What in this SQL pins."""
    bare = _QUOTED.sub(" ", text)
    found = [f"is {len(text.encode())} bytes long"] if len(text.encode()) > LONGEST else []
    for part in filter(None, (piece.strip() for piece in bare.split(";"))):
        kind = part.split()[0].upper()
        found += [] if kind in KINDS else [f"is no statement of a request: {kind}"]
    return found + [f"keeps state of the session: {match[1]}" for match in _SESSION.finditer(bare)]


def of_startup(content: bytes) -> list[str]:
    """What in the first message of a connection pins."""
    names = [name.decode() for name in content.split(b"\0")[::2] if name]
    return [f"sets a parameter of the session: {name}" for name in names if name not in STARTUP]


class Watch:
    """Takes the messages of clients; `faults` are those that pin, `kinds` counts how statements began."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.kinds: Counter[str] = Counter()

    def __call__(self, kind: bytes, content: bytes) -> None:
        """See one message: its type, and what it says."""
        if not kind:
            self.faults += of_startup(content)
        elif kind not in MESSAGES:
            self.faults.append(f"a message of type {kind.decode('ascii')}")
        elif kind in b"QP":
            text = content.split(b"\0")[0 if kind == b"Q" else 1].decode()
            self.kinds[(text.split() or [""])[0].upper()] += 1
            self.faults += [f"{fault}: {text}" for fault in of_statement(text)]
