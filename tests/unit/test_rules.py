"""The house's own rules, and the pure ones of the domain."""

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import openapi
from tests.in_process import routes
from vms.errors import Invalid
from vms.pages import FIRST, cursor_of, read_cursor

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "layers" / "vms" / "vms"
DOMAIN = LIBRARY / "domain"
# The operator's rules know every corporation, so they are a floor of their own above the domain's.
OPERATOR = LIBRARY / "operator"


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


# Plumbing that knows HTTP, events or metrics: for the functions alone.
FUNCTIONS_ONLY = {
    "vms.api",
    "vms.custom_resource",
    "vms.documented",
    "vms.observability",
    "vms.origins",
    "vms.ranges",
    "vms.request_body",
    "vms.schemas",
    "vms.streaming",
}


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: path.stem)
def test_dependencies_point_down_only(path: Path) -> None:
    found = imports(path)
    assert not {name for name in found if name.split(".")[0] in {"functions", "local", "ops", "tests"}}
    if path.parent in {DOMAIN, OPERATOR}:
        assert not found & FUNCTIONS_ONLY
        assert not {name for name in found if name.split(".")[0] in {"aws_lambda_powertools", "http"}}
    if path.parent != OPERATOR:
        assert not {name for name in found if name.startswith("vms.operator")}
    if path.parent == DOMAIN:
        assert not {name for name in found if name.split(".")[0] in {"boto3", "botocore"}}
    elif path.parent != OPERATOR:
        assert not {name for name in found if name.startswith("vms.domain")}


@pytest.mark.parametrize("path", sorted((ROOT / "functions").glob("*/app.py")), ids=lambda path: path.parent.name)
def test_a_function_holds_no_sql_no_aws_and_no_environment(path: Path) -> None:
    found = imports(path)
    assert not {name for name in found if name.split(".")[0] in {"psycopg", "boto3", "botocore", "os"}}
    assert not re.search(r"\b(SELECT|INSERT|UPDATE|DELETE FROM)\b.*\b(FROM|INTO|SET|WHERE)\b", path.read_text("utf-8"))


def test_the_environment_is_read_in_one_place() -> None:
    readers = {
        path.name for path in LIBRARY.rglob("*.py") if re.search(r"os\.(environ|getenv)", path.read_text("utf-8"))
    }
    assert readers <= {"settings.py", "aws.py", "streaming.py"}


def test_the_committed_openapi_document_is_fresh() -> None:
    assert openapi.TARGET.read_text("utf-8") == openapi.text(), "run make openapi"


def test_the_openapi_document_and_the_template_have_the_same_routes() -> None:
    document = json.loads(openapi.TARGET.read_text("utf-8"))
    documented = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert documented == {route for route in routes() if route[0] != "OPTIONS"}


def test_a_route_that_declares_nobody_cannot_be_made() -> None:
    openapi.load("service")
    from vms.api import Api

    with pytest.raises(TypeError, match="who"):
        Api().get("/open", summary="x")  # type: ignore[call-arg]  # that is the point


@given(st.integers(min_value=1, max_value=FIRST))
def test_a_cursor_is_read_back(seq: int) -> None:
    assert read_cursor(cursor_of(seq)) == seq


@given(st.text(max_size=40))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    try:
        seq = read_cursor(text)
    except Invalid:
        return
    assert cursor_of(seq) == text


def test_the_subsets_of_the_lock_agree_with_it() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    shipped = ("layers/dependencies/requirements.txt", "functions/uploads/requirements.txt")
    for subset in (*shipped, "local/requirements.txt"):
        for pin in re.findall(r"^[\w.-]+==\S+", (ROOT / subset).read_text("utf-8"), re.MULTILINE):
            assert re.search(rf"^{re.escape(pin)}(\s|$)", lock, re.MULTILINE), pin
