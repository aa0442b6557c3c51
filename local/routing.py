"""Which route of the template a path belongs to."""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote, unquote

from local.template import Route

_PLAIN = "".join(sorted(set(string.printable) - set(string.whitespace) - set("%/")))


class Router:
    """Finds the most specific resource: level by level, a fixed part before a variable, and that before a greedy one.

    It is one regular expression with an alternative for each resource, the most specific first.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._methods: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._methods.setdefault(route.path, {})[route.method] = route
        paths = sorted(self._methods, key=lambda path: [_rank(part) for part in path.strip("/").split("/")])
        self._resources: dict[int, tuple[Mapping[str, Route], list[str]]] = {}
        alternatives, group = [], 1
        for path in paths:
            names = [part.strip("{+}") for part in path.split("/") if _rank(part)]
            self._resources[group] = self._methods[path], names
            alternatives.append(f"({'/'.join(_patterns(path.strip('/')))})")
            group += 1 + len(names)
        self._pattern = re.compile(f"/?(?:{'|'.join(alternatives)})/?", re.DOTALL)

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        """The route of a raw (percent-encoded) path and its decoded variables; None if the path or the method is
        unknown.
        """
        found = self._pattern.fullmatch(_canonical(path))
        if found is None or found.lastindex is None:
            return None, {}
        methods, names = self._resources[found.lastindex]
        values = found.groups()[found.lastindex : found.lastindex + len(names)]
        variables = {name: unquote(value) for name, value in zip(names, values, strict=True)}
        return methods.get(method) or methods.get("ANY"), variables


def _rank(part: str) -> int:
    return 0 if not part.startswith("{") else 2 if part.endswith("+}") else 1


def _patterns(path: str) -> Iterator[str]:
    for part in path.split("/"):
        yield (re.escape(_canonical(part)), "([^/]+)", "(.+)")[_rank(part)]


def _canonical(path: str) -> str:
    """The path with each part encoded in the one way, so that %61 is a."""
    if path.isascii() and "%" not in path:
        return path
    return "/".join(quote(unquote(part), safe=_PLAIN) for part in path.split("/"))
