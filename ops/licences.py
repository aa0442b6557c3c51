"""Writes docs/licences.md: the licences of what ships in the layers. Run by `make licences`."""

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "licences.md"
SHIPPED = (ROOT / "layers/dependencies/requirements.txt", ROOT / "functions/uploads/requirements.txt")
PERMISSIVE = frozenset({"MIT", "Apache-2.0", "BSD-3-Clause", "PSF-2.0"})
# Of packages whose metadata does not say it as an SPDX expression.
STATED = {"python-dateutil": "Apache-2.0 OR BSD-3-Clause"}
# Not permissive, and why it ships all the same.
EXCEPTIONS = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}
_TEXT = """# Licences of what ships

This project's own code is under the [MIT licence](../LICENSE). A deployment also ships the packages below, in the layer
`dependencies` and, pymediainfo alone, in the function `uploads`. `make licences` writes this file from their metadata;
a test fails when a package comes whose licence is not permissive.

{table}
## The exception: psycopg

psycopg is the only package here that is not under a permissive licence. Code under any licence may import it, so this
project and what is built on it stay under their own terms. Running the service for others hands out no copy. Whoever
hands on a copy of the layer keeps psycopg's notices and licence text (they are in the wheel), says where its source is
(PyPI), and lets the receiver replace it and debug such a replacement; in the layer it is a folder of its own that
another build can take the place of. Changes to psycopg itself would be under the LGPL; here it is unchanged.

## Inside the wheels

- `psycopg-binary` has libpq (PostgreSQL licence), OpenSSL (Apache-2.0), Kerberos (MIT), OpenLDAP (OLDAP-2.8), Cyrus
  SASL (BSD), and libcrypt and libkeyutils (LGPL-2.1 or later), as shared libraries that can be replaced.
- `botocore` has Mozilla's list of certificate authorities (MPL-2.0), unchanged.
- `pymediainfo` has MediaInfo (BSD-2-Clause; 15 MB) with ZenLib and zlib (zlib), as one shared library.
- `aws-lambda-powertools` has Swagger UI (Apache-2.0), which `/docs` shows.

What only the tests and `make run` install is in `requirements.lock`, and is not handed on.
"""


def shipped() -> dict[str, str]:
    """Name and version of each package that ships, without those for another system than Lambda's."""
    text = "".join(path.read_text("utf-8") for path in SHIPPED)
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)( ; sys_platform == 'win32')?", text, re.MULTILINE)
    return {name: version for name, version, other_system in pins if not other_system}


def licence(name: str) -> str:
    """SPDX expression of an installed package."""
    about = metadata.metadata(name)
    return STATED.get(name) or str(about.get("License-Expression") or about.get("License") or "not stated")


def unexpected() -> dict[str, str]:
    """Packages whose licence is neither permissive nor a known exception."""
    found = {name: licence(name) for name in shipped()}
    return {
        name: said
        for name, said in found.items()
        if EXCEPTIONS.get(name) != said and not PERMISSIVE & set(said.split(" OR "))
    }


def text() -> str:
    """The document as it is committed."""
    rows = [f"| {name} | {metadata.version(name)} | {licence(name)} |\n" for name in shipped()]
    return _TEXT.format(table="| package | version | licence |\n| --- | --- | --- |\n" + "".join(rows))


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
