"""No statement of the domain sees or changes a company's rows but those of its caller's corporation."""

import re
from pathlib import Path

import pytest

import vms.domain
from tests import statements
from tests.statements import Statement, faults
from vms.auth import Caller, Who
from vms.domain import access
from vms.errors import Forbidden, NotFound, Unauthenticated

DOMAIN = Path(vms.domain.__path__[0])
STATEMENTS = [found for path in sorted(DOMAIN.glob("*.py")) if path.stem != "access" for found in statements.read(path)]

# The functions whose statements are about rows that no caller's token names, and why each is right.
EXCEPTIONS = {
    ("corporations", "_insert"): "there is no caller yet: it makes the corporation and its admin",
    ("corporations", "expire_plans"): "the schedule's, for all corporations",
    ("corporations", "delete"): "locks the corporation of the token before the statement that is confined",
    ("rollup", "_batch"): "the schedule's: it moves what happened, of everybody, into totals",
    ("sessions", "log_in"): "anonymous: the address and the password say who it is",
    ("sessions", "_begin"): "the row of the user whose password `log_in` has checked",
    ("sessions", "refresh"): "anonymous: the signed token says whose row it locks",
    ("sessions", "_rotate"): "the row of a signed token, of the user whom `refresh` has locked",
    ("sessions", "_revoke_family"): "the family of a signed token, of the user whom the function before has locked",
    ("sessions", "revoke_all"): "the sessions of the user whom the confined statement before it has changed",
    ("sessions", "purge"): "the schedule's: what has expired, of everybody",
    ("leftovers", "expire"): "the schedule's: what has expired, of everybody",
    ("users", "_lock"): "locks what the confined statement after it reads; shows and changes nothing",
}


def name_of(statement: Statement) -> str:
    return f"{statement.module}.{statement.function}"


def test_there_are_statements_of_every_module() -> None:
    assert {found.module for found in STATEMENTS} == {
        path.stem
        for path in DOMAIN.glob("*.py")
        if re.search(r"database\.|\bread(_all)?\(", path.read_text("utf-8")) and path.stem != "access"
    }
    assert len(STATEMENTS) >= 30


@pytest.mark.parametrize("statement", STATEMENTS, ids=name_of)
def test_a_statement_is_confined_to_its_callers_corporation(statement: Statement) -> None:
    if (statement.module, statement.function) in EXCEPTIONS:
        assert not [fault for fault in faults(statement.text) if fault.startswith("selects everything")]
    else:
        assert not faults(statement.text), statement.text


def test_every_exception_is_still_needed() -> None:
    needed = {(found.module, found.function) for found in STATEMENTS if faults(found.text)}
    assert needed == set(EXCEPTIONS)


def test_a_statement_is_found_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(
        """from vms.domain.access import CALLER, OWN_VIDEO
_ALL = "SELECT v.seq FROM video v"
_MORE = f"WITH {CALLER} SELECT v.seq FROM caller JOIN video v ON {OWN_VIDEO}"


def a(caller):
    return database.fetch_all(_ALL, {})


def b(caller, sure):
    return database.fetch_one(_MORE if sure else _ALL, {})


def c(caller):
    which = "v.seq = 1"
    return read(caller, "v.seq AS target", f"JOIN video v ON {which}", {})
"""
    )
    found = [
        (statement.function, bool(faults(statement.text))) for statement in statements.read(tmp_path / "sample.py")
    ]
    assert found == [("a", True), ("b", False), ("b", True), ("c", True)]


# A part of a function with exceptions that is confined all the same.
@pytest.mark.parametrize("function", ["delete", "revoke_all"])
def test_of_a_lock_and_a_change_only_one_is_an_exception(function: str) -> None:
    found = [statement for statement in STATEMENTS if statement.function == function]
    assert any("{CALLER}" in statement.text and not faults(statement.text) for statement in found)


@pytest.mark.parametrize(
    ("kept", "instead", "fault"),
    [
        ("{OWN_VIDEO}", "true", "nothing confines video in target"),
        ("{OWN_VIDEO}", "{OWN_USER}", "nothing confines video in target"),
        (" AND {PERMITTED}", "", "changes a company's table whatever the caller's role"),
        ("{CALLER}, ", "", "names a company's table and does not ask for the caller"),
        ("RETURNING v.seq", "RETURNING v.*", "selects everything"),
        ("SELECT caller.role", "SELECT *, caller.role", "selects everything"),
        (
            "FROM target, caller WHERE v.seq = target.seq",
            "FROM caller WHERE v.seq = %(id)s",
            "nothing confines video in",
        ),
    ],
)
def test_a_statement_that_was_tampered_with_is_found(kept: str, instead: str, fault: str) -> None:
    good = """WITH {CALLER}, target AS (
        SELECT v.seq FROM caller JOIN video v ON {OWN_VIDEO} AND v.seq = %(id)s
    ), changed AS (
        UPDATE video v SET deleted = true FROM target, caller WHERE v.seq = target.seq AND {PERMITTED} RETURNING v.seq
    )
    SELECT caller.role AS caller_role, target.seq AS target
    FROM caller LEFT JOIN target ON true LEFT JOIN changed ON true"""
    assert faults(good) == []
    assert kept in good
    found = faults(good.replace(kept, instead, 1))
    assert any(line.startswith(fault) for line in found), found


@pytest.mark.parametrize(
    ("row", "refusal"),
    [
        (None, Unauthenticated),
        ({"caller_role": "admin"}, NotFound),
        ({"caller_role": "admin", "target": None}, NotFound),
        ({"caller_role": "guest", "target": 5}, Forbidden),
        ({"caller_role": "guest", "target": 5, "owner": None}, Forbidden),
        ({"caller_role": "guest", "target": 5, "owner": 8}, Forbidden),
    ],
)
def test_permit_refuses_what_it_is_not_told(row: dict[str, object] | None, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        access.permit(Caller(7, 3, Who.ADMIN_OR_SELF), row)


def test_permit_passes_on_the_row_of_whoever_may() -> None:
    for who, row in (
        (Who.MEMBER, {"caller_role": "guest", "target": 5}),
        (Who.ADMIN, {"caller_role": "admin", "target": 5}),
        (Who.ADMIN_OR_SELF, {"caller_role": "guest", "target": 5, "owner": 7}),
    ):
        assert access.permit(Caller(7, 3, who), row) is row
