"""docs/reliability.md names tests, and they are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"


def named_in(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_each_test_that_holds_a_promise_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT.read_text("utf-8"))
    assert len(named) > 40
    for path, name in named:
        assert name in named_in(ROOT / path), f"{path} has no {name}"


def test_each_promise_has_a_test_and_a_figure() -> None:
    rows = [
        line for line in DOCUMENT.read_text("utf-8").partition("## The soak")[0].splitlines() if line.startswith("| ")
    ]
    promises = [row for row in rows if not row.startswith(("| promise", "| ---"))]
    assert len(promises) > 20
    for row in promises:
        _, promise, test, figure, _ = (cell.strip() for cell in row.split("|"))
        assert promise
        assert "`tests/" in test or "`make soak`" in test, row
        assert figure, row
