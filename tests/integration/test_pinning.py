"""Nothing that a request sends to PostgreSQL pins it at RDS Proxy, whichever way the request ends."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests import pinning
from tests.acts import ACTS, Act, Stage, create_database, staged
from tests.database_proxy import DatabaseProxy
from tests.e2e.clients import Company, Person, add_member, found_company, unique
from tests.e2e.test_matrix import PROTECTED, case
from tests.in_process import ROOT, context, event, load, routes
from tests.integration.test_outages import TABLES, columns
from tests.pinning import Watch
from tests.service import Services, forget
from vms import database
from vms.auth import Caller, Who
from vms.domain import streams

pytestmark = pytest.mark.usefixtures("environment")

SCHEDULED = sorted({path.parent.name for path in ROOT.glob("functions/*/app.py")} - {*routes().values(), "migrate"})


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def stage(http: httpx.Client, services: Services, watch: Watch) -> Iterator[Stage]:
    """A company in a database of its own; what the functions say to it is watched."""
    url, look = create_database(services, "pinning")
    parts = conninfo_to_dict(url)
    proxy = DatabaseProxy((str(parts["host"]), int(parts["port"] or 5432)), watch)
    try:
        with staged(http, services, url.replace(f":{parts['port']}/", f":{proxy.port}/"), look) as found:
            yield found
    finally:
        proxy.stop()


@pytest.fixture(autouse=True)
def nothing_pins(stage: Stage, watch: Watch) -> Iterator[None]:
    """Each test here is about this, whatever else it looks at."""
    watch.faults.clear()
    watch.kinds.clear()
    database.close()
    yield
    assert watch.faults == []
    assert watch.kinds


def callers(stage: Stage) -> list[tuple[Person, Company]]:
    """Who calls a route about which company: its admin, a guest, a stranger."""
    own, stranger = found_company(stage.http), found_company(stage.http)
    return [(own.admin, own), (stage.company.guest, stage.company), (stranger.admin, stage.company)]


@pytest.mark.parametrize("route", PROTECTED, ids=" ".join)
def test_a_route_pins_nobody_whoever_calls(stage: Stage, route: tuple[str, str]) -> None:
    for caller, company in callers(stage):
        call = case(*route, company, add_member(company.admin).id)
        headers = {"Idempotency-Key": unique("key")} if call.method == "POST" else {}
        for _ in range(3):  # the first is new, then it is prepared, then it is repeated
            assert caller.call(call.method, call.path, call.body, headers=headers).status_code < 500
        assert caller.call(call.method, call.path, {"not": "known"}).status_code < 500
        assert stage.http.request(call.method, call.path, json=call.body).status_code == 401


@pytest.mark.parametrize("arrange", ACTS, ids=lambda arrange: arrange.__name__)
def test_a_change_pins_nobody_done_twice(stage: Stage, arrange: Callable[[Stage], Act]) -> None:
    """The second time, many meet a unique constraint, or what is gone."""
    act = arrange(stage)
    assert act.call().status_code == act.status
    assert act.call().status_code in {act.status, *act.again}


def test_a_large_stream_pins_nobody_and_neither_does_one_too_many(
    stage: Stage, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_SLICE_BYTES", "1")
    monkeypatch.setenv("STREAMS_PER_USER", "1")
    forget()
    try:
        viewer, video = add_member(stage.company.admin), stage.company.video(file_path=stage.film)
        url = viewer.call("POST", f"/v1/videos/{video}/playback").json()["url"]
        for _ in range(2):
            assert stage.http.get(url.removeprefix(str(stage.http.base_url))).status_code == 200
        assert watch.kinds["DELETE"]  # of its lease
        streams.acquire(Caller(viewer.id, viewer.corporation_id, Who.MEMBER), 1, 60)
        assert viewer.get(f"/v1/videos/stream/{video}").status_code == 429
    finally:
        monkeypatch.undo()
        forget()


@pytest.mark.parametrize("function", SCHEDULED)
def test_a_schedule_pins_nobody(stage: Stage, function: str) -> None:
    asked = json.loads((ROOT / "events" / f"{function}.json").read_text("utf-8"))
    for _ in range(2):
        load(function).lambda_handler(asked, context())


def test_a_route_for_anybody_pins_nobody_and_all_are_called(stage: Stage) -> None:
    """Those that only read, and those that the acts call."""
    called: set[tuple[str, str]] = set()

    def note(request: httpx.Request) -> None:
        asked = event(request)
        assert asked is not None
        called.add((asked["httpMethod"], asked["resource"]))

    stage.http.event_hooks = {"request": [note]}
    try:
        for method, path in routes().keys() - set(PROTECTED):
            if method in {"GET", "HEAD"} and "{" not in path:
                assert stage.http.request(method, path).status_code < 500
        for arrange in ACTS:
            arrange(stage).call()
    finally:
        stage.http.event_hooks = {}
    assert routes().keys() - set(PROTECTED) - called == set(), "add an act"


@contextmanager
def locked(stage: Stage, table: str) -> Iterator[None]:
    """Another has locked this table; a request waits for 20 ms."""
    stage.own.execute("ALTER ROLE vms_app IN DATABASE pinning SET lock_timeout = '20ms'")
    stage.own.execute("BEGIN")
    stage.own.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(table)))
    database.close()
    yield
    stage.own.execute("ROLLBACK")
    stage.own.execute("ALTER ROLE vms_app IN DATABASE pinning RESET lock_timeout")
    database.close()


@contextmanager
def failing(stage: Stage, table: str) -> Iterator[None]:
    """Each change of this table fails."""
    stage.own.execute(
        """CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $f$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'no'; END $f$"""
    )
    trigger = "CREATE TRIGGER fail BEFORE INSERT OR UPDATE OR DELETE ON {} FOR EACH STATEMENT EXECUTE FUNCTION fail()"
    stage.own.execute(sql.SQL(trigger).format(sql.Identifier(table)))
    yield
    stage.own.execute(sql.SQL("DROP TRIGGER fail ON {}").format(sql.Identifier(table)))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("fault", [locked, failing], ids=["locked", "failing"])
def test_a_refused_statement_pins_nobody(
    stage: Stage, fault: Callable[[Stage, str], AbstractContextManager[None]], table: str
) -> None:
    """By each table in turn, so that it is the first statement of a transaction, or a later one."""
    acts = [arrange(stage) for arrange in ACTS]
    with fault(stage, table):
        statuses = [act.call().status_code for act in acts]
    assert set(statuses) <= {503, *(act.status for act in acts)}
    assert 503 in statuses or table in {"idempotency_key", "stream_lease"}  # which no act changes; other tests here do


def test_a_void_plan_pins_nobody(stage: Stage) -> None:
    for _ in range(2):  # now each statement is prepared
        for arrange in ACTS:
            act = arrange(stage)
            assert act.call().status_code == act.status
    acts = [arrange(stage) for arrange in ACTS]
    for table, column, kind in columns(stage):
        change = "ALTER TABLE {} ALTER COLUMN {} TYPE " + kind
        stage.own.execute(sql.SQL(change).format(sql.Identifier(table), sql.Identifier(column)))
    assert [act.call().status_code for act in acts] == [act.status for act in acts]


@pytest.mark.parametrize(
    "statement",
    [
        "SET lock_timeout = 0",
        "SET LOCAL lock_timeout = 0",
        "BEGIN; SET lock_timeout = 0",
        "RESET ALL",
        "SELECT set_config('lock_timeout', '0', true)",
        "PREPARE mine AS SELECT 1",
        "EXECUTE mine",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        "LISTEN mine",
        "LOAD 'auto_explain'",
        "DECLARE mine CURSOR FOR SELECT 1",
        "CREATE TEMP TABLE mine (a int)",
        "SELECT 1 AS a INTO TEMPORARY mine",
        "SELECT nextval('video_seq_seq')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)",
        f"SELECT '{'x' * pinning.LONGEST}'",
    ],
)
def test_what_pins_is_found(watch: Watch, statement: str) -> None:
    for message in (statement.encode() + b"\0", b"name\0" + statement.encode() + b"\0\0\0"):
        watch.faults.clear()
        watch(b"Q" if message.startswith(statement.encode()) else b"P", message)
        assert watch.faults
    watch.faults.clear()


def test_what_does_not_pin_is_not_found(watch: Watch) -> None:
    for statement in (
        "WITH a AS (UPDATE video SET name = 'SET; LISTEN' WHERE seq = $1 RETURNING seq) SELECT seq AS \"temp\" FROM a",
        "SELECT pg_advisory_xact_lock(1)",
        "BEGIN",
    ):
        watch(b"Q", statement.encode() + b"\0")
    watch(b"", b"user\0vms_app\0database\0vms\0application_name\0vms\0\0")
    assert watch.faults == []
    watch(b"", b"user\0vms_app\0options\0-c lock_timeout=0\0\0")
    watch(b"C", b"Smine\0")
    assert len(watch.faults) == 2
    watch.faults.clear()


def test_a_deallocation_by_the_driver_is_found(stage: Stage, watch: Watch) -> None:
    """psycopg forgets its prepared statements with a ROLLBACK: as it would where a rule let its transaction() do it."""

    def fail() -> None:
        with database.connection().transaction():
            database.connection().execute("SELECT 1", prepare=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert database.reachable()
    assert [fault for fault in watch.faults if "DEALLOCATE" in fault]
    watch.faults.clear()
