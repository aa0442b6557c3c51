"""Which route of the template a path belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from local.template import Route


@dataclass(slots=True)
class _Node:
    """A level of the resource tree."""

    static: dict[str, "_Node"] = field(default_factory=dict)
    variable: "tuple[str, _Node] | None" = None
    greedy: "tuple[str, _Node] | None" = None
    resource: str | None = None
    methods: dict[str, Route] = field(default_factory=dict)


class Router:
    """Finds the most specific resource: level by level, a fixed part before a variable, and that before a greedy one."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for part in _parts(route.path):
                node = self._child(node, part)
            node.resource = route.path
            node.methods[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        """The route of a raw (percent-encoded) path, and its variables decoded; no route if the path or the method is unknown."""
        node, variables = self._walk(self._root, _parts(path), 0, {})
        if node is None:
            return None, {}
        return node.methods.get(method) or node.methods.get("ANY"), variables

    @staticmethod
    def _child(node: _Node, part: str) -> _Node:
        if part.startswith("{") and part.endswith("+}"):
            node.greedy = node.greedy or (part[1:-2], _Node())
            return node.greedy[1]
        if part.startswith("{") and part.endswith("}"):
            node.variable = node.variable or (part[1:-1], _Node())
            return node.variable[1]
        return node.static.setdefault(part, _Node())

    def _walk(
        self, node: _Node, parts: list[str], at: int, variables: dict[str, str]
    ) -> tuple[_Node | None, dict[str, str]]:
        if at == len(parts):
            return (node, variables) if node.resource is not None else (None, {})
        part = parts[at]
        if (child := node.static.get(part) or node.static.get(unquote(part))) is not None:
            found, variables_found = self._walk(child, parts, at + 1, variables)
            if found is not None:
                return found, variables_found
        if node.variable is not None and part:
            name, child = node.variable
            found, variables_found = self._walk(child, parts, at + 1, {**variables, name: unquote(part)})
            if found is not None:
                return found, variables_found
        if node.greedy is not None:
            name, child = node.greedy
            return child, {**variables, name: unquote("/".join(parts[at:]))}
        return None, {}


def _parts(path: str) -> list[str]:
    stripped = path.removeprefix("/").removesuffix("/")
    return stripped.split("/") if stripped else []
