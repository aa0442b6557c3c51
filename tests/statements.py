"""Reads the SQL statements of the domain modules out of their source, and says what is wrong with one.

A statement is a string literal or an f-string. A name within it that is a constant of its module or a variable of its
function stands for its own text; one that is imported from `vms.domain.access` stays as `{NAME}`, so that the fragments
that confine a statement can be seen.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

# The fragments of access.py that confine a table's rows to the caller's corporation, or to the caller.
_OF_A_USER = ("OWN_USER", "SELF")
_OF_A_VIDEO = ("OWN_VIDEO", "OWN_DELETED_VIDEO", "SEEN_VIDEO")
CONFINED_BY: Mapping[str, tuple[str, ...]] = {
    "corporation": ("OWN_CORPORATION",),
    "user": _OF_A_USER,
    "video": _OF_A_VIDEO,
    "video_view_log": (*_OF_A_USER, *_OF_A_VIDEO),
    "video_progress": (*_OF_A_USER, *_OF_A_VIDEO),
    "video_poster": _OF_A_VIDEO,
    "activity": ("OWN_CORPORATION", *_OF_A_USER, *_OF_A_VIDEO),
    "activity_total": ("OWN_CORPORATION", *_OF_A_USER, *_OF_A_VIDEO),
    "viewer_presence": ("OWN_CORPORATION", *_OF_A_USER),
    "refresh_token": _OF_A_USER,
    "upload": ("OWN_UPLOAD",),
}
_KEPT = {"CALLER", "PERMITTED", *(name for names in CONFINED_BY.values() for name in names)}
_STATEMENT = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b")
_NAMES = "|".join(CONFINED_BY)
_TABLE = re.compile(rf'\b(FROM|JOIN|UPDATE|INTO|ONLY|,)\s+"?({_NAMES})"?(?![\w.(])')
_SOURCE = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)(?:\s*,\s*(\w+))?")
_EVERYTHING = re.compile(r"(SELECT|RETURNING|,)\s*\*|\w\.\*")
_CHANGE = re.compile(rf'\b(INSERT INTO|UPDATE|DELETE FROM)\s+"?({_NAMES})\b')


@dataclass(frozen=True)
class Statement:
    """One statement of a function (or of the module, for a constant), with the fragments' names as placeholders."""

    module: str
    function: str
    text: str


def read(path: Path) -> Iterator[Statement]:
    """Every statement of a module's functions, each in all the forms that it can take."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = _assigned(tree.body)
    for function in [node for node in tree.body if isinstance(node, ast.FunctionDef)]:
        known = {**constants, **_assigned(list(ast.walk(function)))}
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        parts = {id(node) for call in calls for piece in _pieces(call) for node in ast.walk(piece)}
        whole = (text for node in _strings(function) if id(node) not in parts for text in _texts(node, known))
        texts = [text for call in calls for text in _sent(call, known)]
        texts += [text for text in whole if _STATEMENT.match(text)]
        yield from (Statement(path.stem, function.name, text) for text in texts)


def _pieces(call: ast.Call) -> list[ast.expr]:
    """The parts of a statement that a call of access.py's `read` or `read_all` gives."""
    if isinstance(call.func, ast.Name) and call.func.id in {"read", "read_all"}:
        return [*call.args[1:3], *(word.value for word in call.keywords if word.arg == "owner")]
    return []


def _sent(call: ast.Call, known: Mapping[str, ast.expr]) -> Iterator[str]:
    """The statements that a call sends; `read` of access.py puts `CALLER` before them."""
    if pieces := _pieces(call):
        for columns, joins, *_ in product(*(_texts(piece, known) for piece in pieces)):
            yield f"WITH {{CALLER}} SELECT {columns} FROM caller {joins}"
    elif (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in {"fetch_one", "fetch_all"}
        and not isinstance(call.args[0], ast.JoinedStr | ast.Constant)
    ):
        yield from _texts(call.args[0], known)


def faults(statement: str) -> list[str]:
    """What is wrong with a statement; nothing if it is confined to its caller and names its columns."""
    found = [f"selects everything: {match[0]}" for match in _EVERYTHING.finditer(statement)]
    if _TABLE.search(statement) and "{CALLER}" not in statement:
        return [*found, "names a company's table and does not ask for the caller"]
    if _CHANGE.search(statement) and "{PERMITTED}" not in statement:
        found.append("changes a company's table whatever the caller's role")
    confined: set[str] = set()
    for name, part in _parts(statement):
        sources = {source for pair in _SOURCE.findall(part) for source in pair if source}
        derived = bool(sources & confined)
        owned = set(re.findall(r"\{(\w+)\}", part))
        found += [
            f"nothing confines {match[2]} in {name or 'the statement'}"
            for match in _TABLE.finditer(part)
            if not derived and not owned & set(CONFINED_BY[match[2]])
        ]
        if derived or owned & _KEPT - {"CALLER", "PERMITTED"}:
            confined.add(name)
    return found


def _parts(statement: str) -> Iterator[tuple[str, str]]:
    """The named parts of a WITH statement in their order, then the rest, whose name is empty."""
    rest = statement
    while match := re.search(r"\b(\w+) AS (?:MATERIALIZED )?\((?=\s*(SELECT|INSERT|UPDATE|DELETE))", rest):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(rest[end], 0)
            end += 1
        yield match[1], rest[match.end() : end - 1]
        rest = rest[: match.start()] + rest[end:]
    yield "", rest


def _strings(function: ast.FunctionDef) -> Iterator[ast.expr]:
    documentation = ast.get_docstring(function, clean=False)
    within = {id(part) for node in ast.walk(function) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(function):
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in within
            and node.value != documentation
        ):
            yield node


def _assigned(nodes: list[ast.stmt] | list[ast.AST]) -> dict[str, ast.expr]:
    """What each name is given, where it is given something once."""
    found: dict[str, ast.expr] = {}
    for node in nodes:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return found


def _texts(node: ast.expr, known: Mapping[str, ast.expr]) -> list[str]:
    """All texts that an expression can be."""
    match node:
        case ast.Constant(value=str(text)):
            found = [text]
        case ast.JoinedStr(values=values):
            found = ["".join(parts) for parts in product(*(_texts(value, known) for value in values))]
        case ast.FormattedValue(value=value):
            found = _texts(value, known)
        case ast.IfExp(body=body, orelse=orelse):
            found = [*_texts(body, known), *_texts(orelse, known)]
        case ast.Name(id=name) if name in known and name not in _KEPT:
            found = _texts(known[name], known)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            found = [f"{{{name}}}"]
        case _:
            found = ["{…}"]
    return found
