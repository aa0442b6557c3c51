"""The connection to PostgreSQL breaks at each statement of each route that writes, the COMMIT included.

The caller gets the right answer or a 503 with Retry-After; what was acknowledged is done; and asking again does not do
it twice.
"""

from collections.abc import Callable, Iterator

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.acts import ACTS, Act, Stage, staged
from tests.database_proxy import POINTS, Cut, DatabaseProxy, Point
from tests.e2e.clients import problem
from tests.service import Services
from vms import database

pytestmark = pytest.mark.usefixtures("environment")

# More statements than a route has.
MOST = 12


@pytest.fixture(scope="module")
def proxy(services: Services) -> Iterator[DatabaseProxy]:
    parts = conninfo_to_dict(services.database.url)
    made = DatabaseProxy((str(parts["host"]), int(parts["port"] or 5432)))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def stage(environment: dict[str, str], http: httpx.Client, services: Services, proxy: DatabaseProxy) -> Iterator[Stage]:
    parts = conninfo_to_dict(services.database.url)
    url = f"postgresql://{parts['user']}:{parts['password']}@127.0.0.1:{proxy.port}/{parts['dbname']}?sslmode=disable"
    look = make_conninfo(services.database.superuser_url, dbname=str(parts["dbname"]))
    with staged(http, services, url, look) as found:
        yield found


@pytest.mark.parametrize(
    "runs_before", [0, pytest.param(1, marks=pytest.mark.deep), pytest.param(2, marks=pytest.mark.deep)]
)
@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=[pytest.mark.deep] if "half" in point else []) for point in POINTS]
)
@pytest.mark.parametrize("arrange", ACTS, ids=lambda arrange: arrange.__name__)
def test_a_lost_connection_loses_nothing_acknowledged_and_does_nothing_twice(
    stage: Stage, proxy: DatabaseProxy, arrange: Callable[[Stage], Act], point: Point, runs_before: int
) -> None:
    """With `runs_before`, the statements are being prepared (1), or are prepared (2), on the connection that breaks."""
    broken = 0
    for number in range(MOST):
        act = arrange(stage)
        before = [arrange(stage) for _ in range(runs_before)]
        database.close()
        database.connection()
        for earlier in before:
            assert earlier.call().status_code == act.status
        proxy.expect(Cut(number, point))
        answer = act.call()
        reached = proxy.statements > number
        proxy.expect(None)
        if not reached:  # it has fewer statements
            assert answer.status_code == act.status
            break
        broken += 1
        if answer.status_code == act.status:
            assert act.times() == 1
        else:
            assert "Retry-After" in answer.headers
            problem(answer, 503, "unavailable")
            check_once_more(act)
    assert 0 < broken < MOST
    query = """SELECT count(*) FROM "user" u WHERE point <>
        (SELECT coalesce(sum(l.point), 0) FROM video_view_log l WHERE l.user_id = u.seq)"""
    assert stage.value(query) == 0


def check_once_more(act: Act) -> None:
    """Whoever was answered 503 asks again, at once: the first request may still be running."""
    answer = act.call()
    assert answer.status_code in {act.status, *act.again}, answer.text
    assert act.times() == 1 or (act.repeats and act.times() == 2)
