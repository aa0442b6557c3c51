"""Each process that a test or a benchmark starts gets an environment that is made for it: nothing of the shell's."""

import ast
import re
import subprocess
import sys
import tomllib
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


@pytest.mark.parametrize("moved", [False, True])
def test_an_environment_that_was_moved_or_copied_is_made_anew(tmp_path: Path, moved: bool) -> None:
    """It has the directory's path within, so it would run the code that is there, or none."""
    here = tmp_path / "a film's 루먼"
    packages = here / ".venv" / "lib" / "python3.13" / "site-packages"
    packages.mkdir(parents=True)
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    code = (tmp_path / "elsewhere" if moved else here).resolve() / "layers" / "vms"
    (packages / f"_{project.replace('-', '_')}.pth").write_text(str(code), encoding="utf-8")
    (here / ".venv" / "pyvenv.cfg").touch()
    (here / "Makefile").write_text((FOLDER.parent / "Makefile").read_text("utf-8"), encoding="utf-8")
    subprocess.run(["make", "help"], cwd=here, env=of_child(), capture_output=True, check=True)
    assert (here / ".venv" / "pyvenv.cfg").exists() != moved


@pytest.mark.parametrize(
    ("url", "told"),
    [("", "which service? make test-remote API_URL="), ("http://127.0.0.1:1", "nothing answers at"), ("x", "x: ")],
)
def test_the_tests_of_a_service_elsewhere_say_that_none_is_there(url: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/e2e", f"--api-url={url}", "-p", "no:cacheprovider"],
        cwd=FOLDER.parent,
        env=of_child(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert told in done.stderr
