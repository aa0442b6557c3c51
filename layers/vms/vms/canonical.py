"""Canonical forms of texts that can be spelled in several ways: what is compared, unique or counted uses them.

Computed here and stored beside the text as typed; PostgreSQL's lower() depends on the server's locale and is never used
for it.
"""

import unicodedata


def email_key(address: str) -> str:
    """The same for addresses that differ in case or composition only (canonical caseless matching, Unicode 3.13)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", address).casefold())


def name_key(name: str) -> str:
    """Equal for names that look alike: case, width, composition, spaces and invisible characters do not count.

    Compatibility caseless matching (Unicode 3.13), less the format characters.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", name).casefold()).casefold()
    visible = "".join(character for character in folded if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", visible).split())


def opaque(password: str) -> str:
    """A password as it is hashed and checked: in NFC (RFC 8265 section 4.2, OpaqueString)."""
    return unicodedata.normalize("NFC", password)
