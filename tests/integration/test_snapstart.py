"""SnapStart: an environment is initialised, snapshot, and restored many times over.

Its hooks run as awslambdaric runs them.
"""

from collections.abc import Iterator

import pytest
from awslambdaric.lambda_runtime_hooks_runner import run_after_restore, run_before_snapshot
from snapshot_restore_py import get_after_restore, get_before_snapshot

from vms import database

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """awslambdaric forgets the hooks that it has run: they come back for what runs later in this process."""
    hooks = list(get_before_snapshot())
    yield
    get_before_snapshot()[:] = hooks


def backend() -> object:
    row = database.fetch_one("SELECT pg_backend_pid() AS pid", {})
    assert row is not None
    return row["pid"]


def test_a_snapshot_holds_no_connection_and_each_restored_environment_opens_its_own() -> None:
    before = backend()
    held = database.connection()
    run_before_snapshot()
    assert held.closed
    run_after_restore()
    assert backend() != before


def test_a_connection_that_came_with_the_snapshot_is_not_used() -> None:
    held = database.connection()
    run_after_restore()
    assert held.closed
    assert database.reachable()


def test_both_hooks_are_registered_once() -> None:
    for hooks in (get_before_snapshot(), get_after_restore()):
        assert [hook[0] for hook in hooks].count(database.close) == 1
