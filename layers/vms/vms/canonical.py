"""One form for texts that people spell in several ways, so that what is compared, unique and counted is the same everywhere.

Computed here and stored beside the text as typed; PostgreSQL's lower() depends on the server's locale and is never used for it.
"""

import unicodedata


def email_key(address: str) -> str:
    """Equal for e-mail addresses that differ in case or in how accents are composed (canonical caseless matching, Unicode 3.13)."""
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
