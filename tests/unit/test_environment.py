"""Each process that a test or a benchmark starts gets an environment that is made for it: nothing of the shell's."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.environment import of_child

FOLDER = Path(__file__).parents[1]
SOURCES = {str(path.relative_to(FOLDER)): path.read_text("utf-8") for path in sorted(FOLDER.rglob("*.py"))}
STARTS = {"run", "Popen", "call", "check_call", "check_output"}


@pytest.mark.parametrize("name", [name for name, text in SOURCES.items() if "import subprocess" in text])
def test_a_process_is_told_its_environment(name: str) -> None:
    calls = [
        node
        for node in ast.walk(ast.parse(SOURCES[name]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STARTS
        if ast.unparse(node.func).startswith("subprocess.")
    ]
    untold = [node.lineno for node in calls if "env" not in {keyword.arg for keyword in node.keywords}]
    assert not untold, f"{name}, lines {untold}: no env="


def test_no_process_gets_a_copy_of_this_ones_environment() -> None:
    copied = re.compile(r"\*\*os\.environ|environ\.copy\(")
    # The last two start from pytest's own environment, which conftest.py has cleared.
    checked = SOURCES.keys() - {"unit/test_environment.py", "integration/test_run.py", "integration/test_runner.py"}
    assert not [name for name in checked if copied.search(SOURCES[name])]


@pytest.mark.parametrize(("told", "name"), [((), ""), (("NAME=A film",), "A film")])
def test_a_films_name_is_what_make_is_told_and_not_the_computers(told: tuple[str, ...], name: str) -> None:
    """Linux under Windows sets NAME in every shell."""
    done = subprocess.run(
        ["make", "-f", "Makefile", "-f", "-", "tell", *told],
        input='tell: ; @printf %s "$$NAME"',
        cwd=FOLDER.parent,
        env=of_child(NAME="DESKTOP-1"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == name
