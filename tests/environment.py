"""The environment of the tests and of each process that they start: a few names of the shell's, and what a test says.

A shell may hold the demo's env file, an AWS profile, a proxy or libpq's variables. None of them may decide what a test
sees.
"""

import os
from collections.abc import Mapping

# What a program needs to run at all.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
# What pytest and its plugins tell each other by, and how its terminal is to look. These stay in pytest's own process.
_PYTEST = ("PYTEST_", "COV_CORE_", "TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
# How pip reaches a package index from here.
_INSTALLERS = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_shell: Mapping[str, str] = dict(os.environ)


def clear() -> None:
    """Take everything out of this process's environment that is neither `KEPT` nor pytest's."""
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(_PYTEST):
            del os.environ[name]


def of_child(**said: str) -> dict[str, str]:
    """The environment of a child process: `KEPT`, and what the test says."""
    return {**{name: _shell[name] for name in KEPT if name in _shell}, **said}


def of_installer(**said: str) -> dict[str, str]:
    """The same for a process that installs packages, with the shell's settings for pip, certificates and proxies."""
    found = {
        name: value for name, value in _shell.items() if name.startswith(_INSTALLERS) or name.lower().endswith("_proxy")
    }
    return {**of_child(), **found, **said}
